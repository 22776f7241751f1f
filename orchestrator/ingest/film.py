"""Planning of a film: from its packets to a frame index, an encoding and chunks. Intact sources are not decoded for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt

from contract.errors import BadInput
from contract.film import FACE_CONTEXT, UNPLACED, FilmChunk, FilmIndex, Scanning, Span
from contract.packets import KEY
from contract.severity import losses, plain, refusal
from contract.time_filters import asked, context_of
from media.alpha import carries_alpha, transparent
from media.codecs import PROGRESSIVE, encodable, encoder_options, opaque_name, pixel_class
from media.columns import lasting, pack
from media.container_clock import MILLISECOND, container_tick
from media.decoding import SequentialDecoder
from media.frame_changes import FrameChanges
from media.opening import open_media
from media.picture_messages import CAPTIONED, CAPTIONS
from media.piece import Window
from orchestrator.ingest.chunking import MAX_LEAD_IN, Keys, cut_positions, plan_chunks, split_by_bytes, target_frames
from orchestrator.ingest.encoding import frame_rate, gaps, plan_encoding
from orchestrator.ingest.film_choice import stream_of
from orchestrator.ingest.filters import deinterlaces, refuse_filters
from orchestrator.ingest.interlacing import DOUBT, is_soft_telecine, scan_film
from orchestrator.ingest.lossless import Decoded, decode_all, lossless_chunks
from orchestrator.ingest.piece import find_piece, in_piece, refuse_piece
from orchestrator.ingest.presentation_order import Disorder, Order, find_order
from orchestrator.ingest.survey import Survey, last_duration, survey_film
from orchestrator.ingest.trial_decode import check_cuttable, needs_trial, run_trial

if TYPE_CHECKING:
    from collections.abc import Callable

    from contract.job import Item, Spec
    from contract.piece import Piece
    from orchestrator.ingest.packets import PacketTable
    from orchestrator.ingest.probe import Picture

Column = npt.NDArray[np.int64]

INTRA = frozenset(
    [
        "mjpeg",
        "prores",
        "dvvideo",
        "rawvideo",
        "huffyuv",
        "ffvhuff",
        "utvideo",
        "dnxhd",
        "v210",
        "v410",
        "cfhd",
        "jpeg2000",
        "magicyuv",
        "r210",
        "yuv4",
        "v308",
        "v408",
        "y41p",
        "ffv1",
        "dpx",
        "tiff",
        "png",
    ]
)
"""Codecs whose packets stand alone when every packet is a key."""


@dataclass(frozen=True)
class Cuts:
    """Result of cutting the film in either way."""

    pts: Column
    durations: Column
    positions: Column
    chunks: list[FilmChunk]
    joins: tuple[tuple[int, int], ...]
    damage: list[Span]
    notes: list[str]
    lossless: bool
    piece: Piece | None = None


def plan_film(
    source: BinaryIO, item: Item, spec: Spec, network_scale: int, checkpoint: Callable[[], None] = lambda: None
) -> FilmIndex:
    """Return the index of the film in `source` (seekable, left open) under `spec`.

    `network_scale` is used where the spec names no scale. `checkpoint` is called at each step of reading, and raises to
    stop. Raises BadInput for what is not a film, Unsupported for what cannot be restored without losing something,
    UsageError for options that do not fit.
    """
    what = item.name
    survey = survey_film(source, item, spec, what, checkpoint)
    refuse_filters(spec, survey.field_order, what)
    deinterlacing = deinterlaces(spec)
    context = FACE_CONTEXT * bool(spec.faces) + context_of(spec) + int(deinterlacing)
    survey, cuts = _cut(source, item, spec, survey, context, checkpoint)
    # Where frames were decoded, they are shown near their packets.
    places = np.minimum(np.arange(len(survey.table)), len(cuts.pts) - 1) if cuts.lossless else cuts.positions
    cuts.notes.extend(survey.said_of_contents(places, cuts.pts, what))
    tick = container_tick(survey.container, cuts.pts, survey.time_base)
    cuts.notes.extend(_clock_notes(survey.container, tick, what))
    rate = frame_rate(cuts.pts, survey.time_base, survey.rates)
    gap = gaps(cuts.pts, survey.time_base)
    picture, opaque = _opaque(source, survey, spec, what, checkpoint)
    cuts.notes.extend(opaque)
    encoding, notes = plan_encoding(picture, spec, network_scale, rate, survey.field_order, cuts.lossless)
    said = _unless_strict([*survey.notes, *cuts.notes, *([f"in {what} {gap}"] if gap else []), *notes], spec, what)
    index = FilmIndex(
        format=survey.form,
        stream=survey.number,
        codec=survey.codec,
        width=survey.picture.width,
        height=survey.picture.height,
        pix_fmt=survey.picture.pix_fmt,
        time_base=(survey.time_base.numerator, survey.time_base.denominator),
        frames=len(cuts.pts),
        pts=pack(cuts.pts),
        durations=pack(cuts.durations),
        positions=pack(cuts.positions),
        lossless=cuts.lossless,
        colour=survey.picture.colour,
        encoding=encoding,
        container=survey.container,
        chunks=tuple(cuts.chunks),
        streams=survey.streams,
        sar=survey.picture.sar,
        display_matrix=survey.picture.display_matrix,
        joins=cuts.joins,
        face_context=FACE_CONTEXT * bool(spec.faces),
        time_context=context_of(spec),
        time_filters=tuple(one.done for one in asked(spec)),
        damage=tuple(cuts.damage),
        captions=len(survey.contents.messages.found.get(CAPTIONS, ())),
        time_marks=survey.time_marks(places, cuts.pts),
        piece=cuts.piece,
        notes=plain(said),
        losses=losses(said),
    )
    return _scanned(source, index, cuts, spec, what, checkpoint) if deinterlacing else index


def _cut(
    source: BinaryIO, item: Item, spec: Spec, survey: Survey, context: int, checkpoint: Callable[[], None]
) -> tuple[Survey, Cuts]:
    """Cut the film in the way that its packets allow; return it with the survey, which of a piece is of its window."""
    what = item.name
    target = target_frames(survey.picture.width, survey.picture.height, spec)
    try:
        cuts = _cut_packets(source, survey, spec, target, context, what, checkpoint)
    except Disorder as disorder:
        refuse_piece(spec, str(disorder), what)
        return survey, _cut_decoded(source, survey, target, context, str(disorder), what, checkpoint)
    return (survey, cuts) if cuts.piece is None else _within_piece(source, item, spec, survey, cuts, checkpoint)


def _within_piece(
    source: BinaryIO, item: Item, spec: Spec, survey: Survey, cuts: Cuts, checkpoint: Callable[[], None]
) -> tuple[Survey, Cuts]:
    """Read the source once more, for what belongs to the piece alone: sound, subtitles, messages, damage."""
    assert cuts.piece is not None
    table = survey.table
    survey = replace(survey_film(source, item, spec, item.name, checkpoint, Window(*cuts.piece.window)), table=table)
    survey.contents.keep((cuts.positions >= 0) & (cuts.positions < len(cuts.pts)))
    return survey, replace(cuts, damage=survey.damage(cuts.positions, cuts.pts))


def _unless_strict(notes: list[str], spec: Spec, what: str) -> list[str]:
    """Return the notes; raise BadInput for losses among them with --strict."""
    if spec.strict and (why := refusal(what, notes)):
        raise BadInput(why)
    return notes


def _clock_notes(container: str, tick: Fraction, what: str) -> list[str]:
    if container not in ("matroska", "webm") or tick == MILLISECOND:
        return []
    return [f"frames of {what} are under a millisecond apart; the result's clock has ticks of {float(tick):g} s"]


def _opaque(
    source: BinaryIO, survey: Survey, spec: Spec, what: str, checkpoint: Callable[[], None]
) -> tuple[Picture, list[str]]:
    """Return the picture without its alpha where the result's codec takes none and the film is opaque throughout."""
    picture = survey.picture
    held = any(pixel_class(name).alpha for name in encodable(spec.codec))
    if held or spec.pix_fmt is not None or not carries_alpha(picture.pix_fmt):
        return picture, []
    with open_media(source, what) as container:
        decoder = SequentialDecoder(container, stream_of(container, survey.number), checkpoint=checkpoint)
        if any(carries_alpha(frame.format.name) and transparent(frame) for _, frame in decoder):
            return picture, []
    note = f"the alpha of {what} is opaque throughout, and is left out of the result, since {spec.codec} takes none"
    return replace(picture, pix_fmt=opaque_name(picture.pix_fmt)), [note]


def _cut_packets(
    source: BinaryIO, survey: Survey, spec: Spec, target: int, context: int, what: str, checkpoint: Callable[[], None]
) -> Cuts:
    """Cut the source's own packets. Raises Disorder when that is not possible."""
    check_cuttable(survey.codec)
    table = survey.table
    order = find_order(table, survey.reorder, survey.step)
    notes: list[str] = []
    keys = usable_keys(table, order)
    first_key = int(keys.ids[0]) if len(keys.ids) else -1
    if needs_trial(survey.form, survey.codec, order, first_key):
        with open_media(source, what) as container:
            ungiven = run_trial(container, stream_of(container, survey.number), order, keys, checkpoint)
        if ungiven:
            order = find_order(table, survey.reorder, survey.step, ungiven)
            keys = usable_keys(table, order)
            notes.append(
                f"{len(ungiven)} pictures at the start refer to something before the beginning of {what} and cannot be "
                "shown by any player; the film begins after them"
            )
    frames = len(order.pts)
    durations = order.durations.copy()
    durations[-1] = last_duration(survey, int(order.pts[-1]), int(durations[-1]))
    intra = len(keys.ids) == frames and survey.codec in INTRA
    positions, pts, sizes, piece = order.positions, order.pts, table.size[order.packet_of], None
    if spec.piece is not None:
        if len(order.segments) > 1:
            refuse_piece(spec, f"its clock falls back {len(order.segments) - 1} times", what)
        piece, said = find_piece(spec.piece, pts, survey.time_base, what)
        notes.append(said)
    if piece is not None:
        frames, owned = piece.frames, slice(piece.first, piece.first + piece.frames)
        positions, keys = in_piece(positions, keys, piece)
        durations, sizes = lasting(pts, durations)[owned], sizes[owned]
        pts = pts[owned]
    starts = cut_positions(frames, target, keys, exact=bool(spec.chunk_frames))
    starts = split_by_bytes(starts, frames, np.concatenate(([0], np.cumsum(sizes))))
    inside = np.where((positions >= 0) & (positions < frames), positions, UNPLACED)
    chunks = plan_chunks(starts, frames, inside, keys, context, intra)
    longest = max(c.stop - c.start - c.count for c in chunks)
    if longest > 2 * MAX_LEAD_IN:
        raise Disorder(
            f"up to {longest} packets would have to be decoded before a chunk's own: there are too few key frames"
        )
    if len(order.segments) > 1:
        notes.append(
            f"the clock of {what} falls back {len(order.segments) - 1} times; the parts are joined without a gap"
        )
    return Cuts(
        pts=pts,
        durations=durations,
        positions=positions,
        chunks=chunks,
        joins=tuple((s.start, s.shift) for s in order.segments[1:]),
        damage=survey.damage(positions, pts),
        notes=notes,
        lossless=False,
        piece=piece,
    )


def _cut_decoded(
    source: BinaryIO, survey: Survey, target: int, context: int, why: str, what: str, checkpoint: Callable[[], None]
) -> Cuts:
    """Cut a source by decoding it whole."""
    picture = survey.picture
    keeps = ("A53_CC",) if survey.codec in CAPTIONED else ()
    odd = FrameChanges((picture.width, picture.height), picture.pix_fmt, picture.colour, keeps)
    with open_media(source, what) as container:
        found: Decoded = decode_all(container, stream_of(container, survey.number), survey.step, odd, what, checkpoint)
    notes = [f"{what} is cut as losslessly recoded frames, not as its own packets: {why}"]
    if found.mended:
        notes.append(
            f"{found.mended} frames of {what} carry no time of their own, or one that is taken; theirs follow from the frame rate"
        )
    if found.joins:
        notes.append(f"the clock of {what} falls back {len(found.joins)} times; the parts are joined without a gap")
    notes += odd.notes
    look = pixel_class(picture.pix_fmt)
    frame_bytes = picture.width * picture.height * (2 if look.depth > 8 else 1) * 2
    frames = len(found.pts)
    return Cuts(
        pts=found.pts,
        durations=found.durations,
        positions=np.arange(frames, dtype=np.int64),
        chunks=lossless_chunks(frames, frame_bytes, target, found.turns, context),
        joins=found.joins,
        damage=list(dict.fromkeys([*found.damage, *survey.elsewhere(np.arange(frames), found.pts)])),
        notes=notes,
        lossless=True,
    )


def _scanned(
    source: BinaryIO, index: FilmIndex, cuts: Cuts, spec: Spec, what: str, checkpoint: Callable[[], None]
) -> FilmIndex:
    """Return the index with its scan type, and with deinterlacing where that is asked for."""
    scanning: Scanning = scan_film(source, index, cuts.pts.tolist(), what, checkpoint)
    if index.lossless:
        scanning = msgspec.structs.replace(scanning, flagged=False)  # FFV1 runs do not carry the frames' flags
    soft = scanning.kind == "telecined" and is_soft_telecine(cuts.durations.tolist())
    woven = scanning.kind not in ("progressive", "unknown") and not soft
    notes = list(index.notes)
    if soft:
        notes.append(
            f"{what} is telecined by flags only: its frames are the film's own and stay so, shown by turns for two and for "
            "three fields; nothing is to be done"
        )
    elif scanning.kind == "telecined":
        notes.append(
            f"{what} looks telecined (film at 24 frames/s spread over 30): an inverse telecine before restoring it gives "
            "the film's own frames; as it is, its woven frames are deinterlaced"
        )
    elif woven and spec.deinterlace == "auto":
        notes.append(f"{what} is interlaced ({scanning.kind[-3:]}); bwdif makes one whole frame of each")
    if scanning.evidence.startswith(DOUBT) and spec.deinterlace == "auto":
        notes.append(
            f"{what} may be interlaced: {scanning.evidence}. It is taken for progressive; look at moving edges, and pass "
            "--deinterlace bwdif if they are combed, or --deinterlace off if they are not"
        )
    if not woven and spec.deinterlace != "bwdif":
        return msgspec.structs.replace(index, scanning=scanning, notes=tuple(notes))
    encoding, before = index.encoding, index.width * index.height
    pixels = encoding.width * encoding.height
    options = encoder_options(spec.codec, spec, encoding.pix_fmt, PROGRESSIVE, pixels, before)
    encoding = msgspec.structs.replace(encoding, field_order=PROGRESSIVE, options=options)
    return msgspec.structs.replace(index, scanning=scanning, deinterlace=True, encoding=encoding, notes=tuple(notes))


def usable_keys(table: PacketTable, order: Order) -> Keys:
    """Return the key packets at which decoding can start."""
    ids = np.flatnonzero(((table.flags & KEY) != 0) & (order.positions >= 0))
    positions = order.positions[ids]
    rising = np.concatenate(([True], np.diff(positions) > 0)) if len(ids) else np.zeros(0, dtype=bool)
    return Keys(ids[rising], positions[rising])
