"""Enhancement of a chunk of a film: reads a packet run, writes an encoded chunk."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from av.video.format import VideoFormat

from contract.errors import EnhanceError
from contract.film import FACE_CONTEXT
from contract.time_filters import asked
from media.codecs import opaque_name, pixel_class, same_samples
from media.frame_changes import FrameChanges
from media.picture_messages import CAPTIONED
from workers.film.decode import RunDecoder
from workers.film.deinterlace import deinterlaced
from workers.film.encode import ChunkEncoder
from workers.film.field_flags import FieldFlags
from workers.film.frame_marks import Clock, FrameMarks
from workers.film.network_stages import NetworkStages, put_back
from workers.film.pipeline import BackgroundConsumer, prefetched
from workers.film.share import ALONE, Share

if TYPE_CHECKING:
    import torch
    from av.video.frame import VideoFrame

    from contract.film import Span
    from contract.job import Spec
    from contract.packets import RunHeader
    from workers.checkpoint import Checkpoint
    from workers.faces.enhance import FaceRestorer
    from workers.film.masks import MaskFilm
    from workers.film.time_filters import FrameFilter
    from workers.generators.enhancer import Enhancer

BATCH = 4
"""Frames that a GPU's network processes at once: enough to use it fully at common sizes, few enough for its memory."""
DEPTH = 2
"""Batches in the queue between two stages: one that the next stage works on and one that is ready, so that no stage waits long."""


@dataclass(frozen=True)
class FilmResult:
    """The result of a chunk. `damage` is in positions of the film; `record` has the seconds of each stage and the enhancer's record.

    `prints` are the fingerprints of the owned frames as decoded (see `media.fingerprints`), `looks` their coarse pictures as they
    go to the network (see `media.likeness`); None without a witness.
    """

    frames: int
    reorder: int
    width: int
    height: int
    damage: list[tuple[int, int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    record: dict[str, object] = field(default_factory=dict)
    prints: bytes | None = None
    looks: bytes | None = None


def film_stages(
    run: Path,
    spec: Spec,
    enhancer: Enhancer | None,
    out: Path,
    checkpoint: Checkpoint,
    faces: FaceRestorer | None = None,
    masks: Path | None = None,
    share: Share = ALONE,
) -> Generator[None, None, FilmResult]:
    """Decode the owned frames of `run`, enhance them and encode them into `out`; without an `enhancer` they stay unchanged.

    With `faces`, which needs an enhancer, the faces of the enhanced frames are restored.
    `checkpoint` is called between batches and raises to stop. A frame that the source does not have is omitted and
    reported; with `spec.strict` any damage raises EnhanceError. `out` is empty if there is no frame at all.
    With `masks`, the mask film of `contract.masks` is written there.
    Decoding, enhancing and encoding run at the same time, a few batches apart, or further as `share` says. Yields once, where the
    networks have done their part and may have other frames: what is left to do is the encoder's.
    """
    decoder = RunDecoder(run)
    header = decoder.header
    clock = Clock()
    turns = _changes(header)
    if faces is not None:
        faces.start(header.first)
    marks = None if spec.witness == "off" else FrameMarks(header, clock)
    filters = _time_filters(spec, header, clock)
    shown = _mask_film(masks, header, clock)
    frames = _filtered(decoder, (marks, turns, shown), filters, FACE_CONTEXT * bool(spec.faces))
    began = time.perf_counter()
    with ChunkEncoder(out, header.encoding, share.threads) as encoder, shown or nullcontext():
        if enhancer is None or (enhancer.identity and faces is None):
            for batch in _batches(frames, header, clock, None, BATCH):
                checkpoint(encoder.frames)
                for ordinal, frame in batch:
                    encoder.write(ordinal, put_back(filters, header.first + ordinal, _conformed(frame, header)))
            made = _made(enhancer, faces)
            yield
        else:
            size, *depths = _sizes(enhancer, header, share)
            network = NetworkStages(header, enhancer, faces, clock, filters, share.frames)
            made = yield from _through(
                network, _batches(frames, header, clock, faces, size), depths, encoder, checkpoint
            )
        now = time.perf_counter()
    ended = clock.spend("encode", now)
    if shown is not None:
        shown.check(encoder.frames)
    _refuse(decoder.damage if spec.strict else [])
    return FilmResult(
        frames=encoder.frames,
        reorder=encoder.reorder,
        width=header.encoding.width,
        height=header.encoding.height,
        damage=[(s.first, s.count, s.reason) for s in decoder.damage],
        notes=turns.notes + [n for one in filters for n in one.notes(header)] + made.notes,
        record=_seconds(clock, ended - began) | made.record | _work(filters, header),
        prints=marks.prints if marks else None,
        looks=marks.looks if marks else None,
    )


def _through(
    network: NetworkStages,
    batches: Iterator[list[tuple[int, VideoFrame]]],
    depths: Sequence[int],
    encoder: ChunkEncoder,
    checkpoint: Checkpoint,
) -> Generator[None, None, _Made]:
    """Enhance and encode all batches; `depths` are those of `_sizes`.

    Yields when the last batch has left the networks; returns what they made of all.
    """
    depth, waiting = depths
    with (
        BackgroundConsumer(network.encoded(encoder, checkpoint), waiting) as frames,
        BackgroundConsumer(network.converted(frames.put), depth) as results,
    ):
        with prefetched(network.inputs(batches), depth) as inputs:
            for batch in network.enhanced(inputs, lambda: checkpoint(encoder.frames)):
                results.put(batch)
        made = _made(network.enhancer, network.faces)
        yield
    return made


def _sizes(enhancer: Enhancer, header: RunHeader, share: Share) -> tuple[int, int, int]:
    """Return the frames of a batch, the batches that wait between two stages, and the frames that wait for the encoder."""
    size, depth = (1, 1) if enhancer.device == "cpu" else (BATCH, DEPTH)
    encoding = header.encoding
    bits = VideoFormat(encoding.pix_fmt, encoding.width, encoding.height).padded_bits_per_pixel
    return size, depth, max(size * depth, share.ahead // (encoding.width * encoding.height * bits // 8))


def _changes(header: RunHeader) -> FrameChanges:
    """Return the watch over what changes from frame to frame."""
    # Captions are carried from the packets of these codecs when the film is put together.
    keeps = ("A53_CC",) if header.codec in CAPTIONED else ()
    return FrameChanges((header.width, header.height), header.pix_fmt, header.colour, keeps)


def _refuse(damage: list[Span]) -> None:
    """Raise EnhanceError where there is damage."""
    if damage:
        first = damage[0]
        raise EnhanceError(
            f"frame {first.first} is damaged ({first.reason}); run without --strict to restore the rest."
        )


def _work(filters: list[FrameFilter], header: RunHeader) -> dict[str, object]:
    """Return what the filters over time record of each owned frame."""
    return {name: value for one in filters for name, value in one.record(header).items()}


@dataclass(frozen=True)
class _Made:
    """Record and notes of the networks about the frames of a chunk, taken before they get those of another."""

    record: dict[str, object]
    notes: list[str]


def _made(enhancer: Enhancer | None, faces: FaceRestorer | None) -> _Made:
    record = enhancer.record() if enhancer else {}
    return _Made(record | ({"faces": faces.record()} if faces else {}), faces.notes() if faces else [])


def _seconds(clock: Clock, wall: float) -> dict[str, object]:
    """Return the seconds of each stage."""
    return {
        "seconds": {k: round(v, 4) for k, v in clock.seconds.items()},
        "wall": round(wall, 4),
        "network_busy": round(clock.seconds.get("network", 0.0) / max(wall, 1e-9), 4),
    }


def _filtered(
    decoder: RunDecoder,
    watching: tuple[FrameMarks | None, FrameChanges, MaskFilm | None],
    filters: list[FrameFilter],
    before: int,
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield the frames of a run as they go to enhancement. `before` is as of `through`.

    Of those `watching`, marks see them before and after the filters, changes the owned ones as the decoder gives them, and the mask film what
    the filters change.
    """
    marks, turns, masks = watching
    header = decoder.header
    frames = iter(decoder) if marks is None else marks.decoded(decoder)
    if header.deinterlace:
        frames = deinterlaced(frames, header.scanning)
    frames = _seen(frames, header, turns)
    if filters:
        from workers.film.picture import evenly
        from workers.film.time_filters import through

        frames = through(evenly(frames), filters, header, before, masks)
    return frames if marks is None else marks.enhanced(frames)


def _time_filters(spec: Spec, header: RunHeader, clock: Clock) -> list[FrameFilter]:
    """Return the filters over time of `spec`. They take torch, which films without a network and a filter do not load."""
    if not asked(spec):
        return []
    from workers.film.time_filters import make

    return make(spec, header, clock)


def _mask_film(out: Path | None, header: RunHeader, clock: Clock) -> MaskFilm | None:
    """Return the mask film that is written to `out`; None without it."""
    if out is None:
        return None
    from workers.film.masks import MaskFilm

    return MaskFilm(out, header, clock)


def _seen(
    frames: Iterator[tuple[int, VideoFrame]], header: RunHeader, turns: FrameChanges
) -> Iterator[tuple[int, VideoFrame]]:
    for position, frame in frames:
        if 0 <= position - header.first < header.count:
            turns.see(position, frame)
        yield position, frame


def _batches(
    frames: Iterator[tuple[int, VideoFrame]],
    header: RunHeader,
    clock: Clock,
    faces: FaceRestorer | None,
    most: int,
) -> Iterator[list[tuple[int, VideoFrame]]]:
    """Yield owned frames with their ordinals, at most `most` in a batch; all frames of a batch have the same size and format.

    `faces` receives the frames before them that affect their faces.
    """
    batch: list[tuple[int, VideoFrame]] = []
    shape: tuple[int, int, str] | None = None
    while True:
        now = time.perf_counter()
        item = next(frames, None)
        clock.spend("decode", now)
        if item is None:
            break
        position, frame = item
        ordinal = position - header.first
        if faces is not None and -faces.context <= ordinal < 0:
            now = time.perf_counter()
            faces.observe(_rgb(frame, header, faces.device))
            clock.spend("faces", now)
        if not 0 <= ordinal < header.count:
            continue
        layout = (frame.width, frame.height, frame.format.name)
        if batch and (layout != shape or len(batch) == most):
            yield batch
            batch = []
        shape = layout
        batch.append((ordinal, frame))
    if batch:
        yield batch


def _rgb(frame: VideoFrame, header: RunHeader, device: str) -> torch.Tensor:
    from workers.film import colour

    return colour.to_rgb(frame, header.colour, device)


def _conformed(frame: VideoFrame, header: RunHeader) -> VideoFrame:
    """Return `frame` unchanged unless it has another colour model or size than the encoding; then convert it."""
    encoding = header.encoding
    if pixel_class(frame.format.name).model != pixel_class(encoding.pix_fmt).model:
        from workers.film import colour
        from workers.film.transparency import AlphaKeeper

        alpha, fields = AlphaKeeper(encoding.pix_fmt), FieldFlags(encoding.field_order)
        alpha.take(0, frame)
        fields.take(0, frame)
        frame = colour.from_rgb(colour.to_rgb(frame, header.colour), opaque_name(encoding.pix_fmt), encoding.colour)
        frame = fields.put(0, alpha.put(0, frame))
    frame = same_samples(frame, encoding.pix_fmt)
    if (frame.width, frame.height) != (encoding.width, encoding.height):
        frame = frame.reformat(width=encoding.width, height=encoding.height, interpolation="LANCZOS")
    return frame
