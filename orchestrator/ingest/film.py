"""Planning a film: from its packets to a frame index, an encoding and chunks. Sound sources are not decoded for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt

from contract.codecs import PROGRESSIVE, encoder_options, pixel_class
from contract.errors import Unsupported
from contract.film import FACE_CONTEXT, FilmChunk, FilmIndex, Scanning, Span, pack
from contract.media import open_media
from contract.packets import CORRUPT, KEY
from orchestrator.containers import Holding
from orchestrator.ingest.chunks import (
    MAX_LEAD_IN,
    Keys,
    cut_positions,
    plan_chunks,
    split_by_bytes,
    target_frames,
)
from orchestrator.ingest.encoding import announced_rates, frame_rate, nominal_step, plan_encoding
from orchestrator.ingest.lossless import Decoded, decode_all, lossless_chunks
from orchestrator.ingest.order import Disorder, Order, find_order
from orchestrator.ingest.packets import PacketTable, Tally, read_packets
from orchestrator.ingest.probe import (
    HLG,
    PQ,
    Picture,
    describe_picture,
    describe_streams,
    display_matrix,
    film_stream,
    sample_aspect,
)
from orchestrator.ingest.scanning import is_soft_telecine, scan_film
from orchestrator.ingest.trial import check_cuttable, needs_trial, run_trial

if TYPE_CHECKING:
    from contract.film import SourceStream
    from contract.job import Item, Spec

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
class Survey:
    """What one pass over the source's headers and packets gives."""

    form: str
    codec: str
    number: int
    time_base: Fraction
    reorder: bool
    picture: Picture
    streams: tuple[SourceStream, ...]
    table: PacketTable
    rates: list[Fraction]
    step: int
    container: str
    notes: list[str]
    field_order: int


@dataclass(frozen=True)
class Cuts:
    """How the film is cut, by either way."""

    pts: Column
    durations: Column
    positions: Column
    chunks: list[FilmChunk]
    joins: tuple[tuple[int, int], ...]
    damage: list[Span]
    notes: list[str]
    lossless: bool


def plan_film(source: BinaryIO, item: Item, spec: Spec, network_scale: int) -> FilmIndex:
    """The index of the film in `source` (seekable, left open) under `spec`; `network_scale` is used where the spec
    names no scale.

    Raises BadInput for what is no film, Unsupported for what cannot be restored without losing something, UsageError
    for options that do not fit. Nothing has been done by then.
    """
    what = item.name
    survey = _survey(source, item, spec, what)
    target = target_frames(survey.picture.width, survey.picture.height, spec)
    deinterlacing = (spec.model != "identity" and spec.deinterlace == "auto") or spec.deinterlace == "bwdif"
    face_context = FACE_CONTEXT if spec.faces else 0
    context = face_context + int(deinterlacing)
    try:
        cuts = _cut_packets(source, survey, spec, target, context, what=what)
    except Disorder as disorder:
        cuts = _cut_decoded(source, survey, target, context, why=str(disorder), what=what)
    rate = frame_rate(cuts.pts, survey.time_base, survey.rates)
    encoding, notes = plan_encoding(survey.picture, spec, network_scale, rate, survey.field_order)
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
        face_context=face_context,
        damage=tuple(cuts.damage),
        notes=(*survey.notes, *cuts.notes, *notes),
    )
    return _scanned(source, index, cuts, spec, what) if deinterlacing else index


def _survey(source: BinaryIO, item: Item, spec: Spec, what: str) -> Survey:
    with open_media(source, what) as container:
        stream = film_stream(container, what)
        picture = describe_picture(container, stream, what)
        _refuse_hdr(picture, spec, what)
        if stream.metadata.get("alpha_mode") == "1" and not spec.pix_fmt and not pixel_class(picture.pix_fmt).alpha:
            raise Unsupported(
                f"{what} is transparent ({stream.codec_context.name} with alpha), which no decoder here reads; accept the "
                f"loss with --pix-fmt {picture.pix_fmt}."
            )
        found = describe_streams(container, stream)
        holding = Holding(container, found, stream.index, spec.codec, picture.turned, what)
        choice = holding.choose(item, spec)
        tallies = {s.index: Tally() for s in found if s.kind != "attachment" and s.index != stream.index}
        table = read_packets(container, stream, tallies, what)
        picture = replace(picture, sar=sample_aspect(stream))  # some demuxers learn it from the packets
        survey = Survey(
            form=container.format.name,
            codec=stream.codec_context.name,
            number=stream.index,
            time_base=stream.time_base or Fraction(1, 90000),
            reorder=stream.codec_context.has_b_frames,
            picture=picture,
            streams=tuple(_counted(s, tallies) for s in choice.streams),
            table=table,
            rates=announced_rates(stream),
            step=nominal_step(stream, table),
            container=choice.container,
            notes=choice.notes,
            field_order=stream.codec_context.field_order,
        )
    if survey.table.broken_off:
        survey = _survey_film_alone(source, survey, what)
    if picture.turned:
        with open_media(source, what) as container:
            matrix = display_matrix(container, film_stream(container, what))
            survey = replace(survey, picture=replace(picture, display_matrix=matrix))
    return survey


def _counted(known: SourceStream, tallies: dict[int, Tally]) -> SourceStream:
    tally = tallies.get(known.index, Tally())
    return msgspec.structs.replace(known, packets=tally.packets, size=tally.size, crc=tally.crc, start=tally.start)


def _survey_film_alone(source: BinaryIO, survey: Survey, what: str) -> Survey:
    """A file that breaks off in some other stream may still hold more of the film."""
    with open_media(source, what) as container:
        table = read_packets(container, film_stream(container, what), {}, what)
    note = f"{what} breaks off ({survey.table.broken_off}) after {len(survey.table)} of {len(table)} pictures"
    return replace(survey, table=table, notes=[*survey.notes, note])


def _refuse_hdr(picture: Picture, spec: Spec, what: str) -> None:
    if picture.colour.transfer in (PQ, HLG) and not spec.hdr:
        kind = "PQ" if picture.colour.transfer == PQ else "HLG"
        raise Unsupported(
            f"{what} is high dynamic range ({kind}), which the networks were not trained on; "
            "pass --hdr to process its code values as they are, or make an SDR version first."
        )


def _cut_packets(source: BinaryIO, survey: Survey, spec: Spec, target: int, context: int, what: str) -> Cuts:
    """Cut the source's own packets. Raises Disorder when they do not lend themselves to it."""
    check_cuttable(survey.codec)
    table = survey.table
    order = find_order(table, survey.reorder, survey.step)
    notes: list[str] = []
    keys = usable_keys(table, order)
    first_key = int(keys.ids[0]) if len(keys.ids) else -1
    if needs_trial(survey.form, survey.codec, order, first_key):
        with open_media(source, what) as container:
            ungiven = run_trial(container, film_stream(container, what), order, keys)
        if ungiven:
            order = find_order(table, survey.reorder, survey.step, ungiven)
            keys = usable_keys(table, order)
            notes.append(
                f"{len(ungiven)} pictures at the start refer to something before the beginning of {what} and cannot be "
                "shown by any player; the film begins after them"
            )
    frames = len(order.pts)
    intra = len(keys.ids) == frames and survey.codec in INTRA
    starts = cut_positions(frames, target, keys, exact=bool(spec.chunk_frames))
    starts = split_by_bytes(starts, frames, np.concatenate(([0], np.cumsum(table.size[order.packet_of]))))
    chunks = plan_chunks(starts, frames, order.positions, keys, context, intra)
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
        pts=order.pts,
        durations=order.durations,
        positions=order.positions,
        chunks=chunks,
        joins=tuple((s.start, s.shift) for s in order.segments[1:]),
        damage=_damage(table, order),
        notes=notes,
        lossless=False,
    )


def _cut_decoded(source: BinaryIO, survey: Survey, target: int, context: int, why: str, what: str) -> Cuts:
    """Decode the whole source to find out what it holds."""
    with open_media(source, what) as container:
        found: Decoded = decode_all(container, film_stream(container, what), survey.step, what)
    notes = [f"{what} is cut as losslessly recoded frames, not as its own packets: {why}"]
    if found.mended:
        notes.append(f"{found.mended} frames of {what} carry no time of their own; theirs follow from the frame rate")
    if found.turns:
        notes.append(f"frames of {what} change their size or format {len(found.turns)} times")
    look = pixel_class(survey.picture.pix_fmt)
    frame_bytes = survey.picture.width * survey.picture.height * (2 if look.depth > 8 else 1) * 2
    frames = len(found.pts)
    return Cuts(
        pts=found.pts,
        durations=found.durations,
        positions=np.arange(frames, dtype=np.int64),
        chunks=lossless_chunks(frames, frame_bytes, target, found.turns, context),
        joins=found.joins,
        damage=list(found.damage),
        notes=notes,
        lossless=True,
    )


def _scanned(source: BinaryIO, index: FilmIndex, cuts: Cuts, spec: Spec, what: str) -> FilmIndex:
    """The index with its scanning, and with the order to deinterlace where that is asked for."""
    scanning: Scanning = scan_film(source, index, cuts.pts.tolist(), what)
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
    if not woven and spec.deinterlace != "bwdif":
        return msgspec.structs.replace(index, scanning=scanning, notes=tuple(notes))
    encoding = msgspec.structs.replace(
        index.encoding,
        field_order=PROGRESSIVE,
        options=encoder_options(spec.codec, spec, index.encoding.pix_fmt, PROGRESSIVE),
    )
    return msgspec.structs.replace(index, scanning=scanning, deinterlace=True, encoding=encoding, notes=tuple(notes))


def usable_keys(table: PacketTable, order: Order) -> Keys:
    """Key packets at which decoding can start."""
    ids = np.flatnonzero(((table.flags & KEY) != 0) & (order.positions >= 0))
    positions = order.positions[ids]
    rising = np.concatenate(([True], np.diff(positions) > 0)) if len(ids) else np.zeros(0, dtype=bool)
    return Keys(ids[rising], positions[rising])


def _damage(table: PacketTable, order: Order) -> list[Span]:
    """What the container itself reports: packets with missing bytes."""
    spans: list[Span] = []
    for packet in np.flatnonzero(table.flags & CORRUPT):
        position = int(order.positions[packet])
        if position < 0:
            continue
        if spans and spans[-1].first + spans[-1].count == position:
            spans[-1] = Span(spans[-1].first, spans[-1].count + 1, spans[-1].reason)
        else:
            spans.append(Span(position, 1, "the container marks its bytes as incomplete"))
    if table.broken_off:
        spans.append(Span(len(order.pts) - 1, 0, f"the file breaks off here ({table.broken_off})"))
    return spans
