"""A chunk of a film: run in, encoded chunk out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from contract.codecs import pixel_class, same_samples
from contract.errors import EnhanceError
from workers.decode import RunDecoder
from workers.deinterlace import deinterlaced
from workers.encode import ChunkEncoder

if TYPE_CHECKING:
    import torch
    from av.video.frame import VideoFrame

    from contract.job import Spec
    from contract.packets import RunHeader
    from workers.faces.enhance import FaceRestorer
    from workers.generators.enhancer import Enhancer
    from workers.pulse import Checkpoint

Sizes = dict[tuple[int, int], list[int]]
"""Positions of frames that have another size than the film, by (width, height)."""
BATCH = 4
"""Frames that go through a network at once: enough to fill a GPU at common sizes, few enough for its memory."""


@dataclass(frozen=True)
class FilmResult:
    """What a chunk came to. `damage` is in positions of the film; `record` holds seconds per stage and the enhancer's."""

    frames: int
    reorder: int
    width: int
    height: int
    damage: list[tuple[int, int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    record: dict[str, object] = field(default_factory=dict)


@dataclass
class Clock:
    """Seconds per stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    def spend(self, stage: str, since: float) -> float:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - since
        return now


def enhance_film(
    run: Path,
    spec: Spec,
    enhancer: Enhancer | None,
    out: Path,
    checkpoint: Checkpoint,
    faces: FaceRestorer | None = None,
) -> FilmResult:
    """Decode the owned frames of `run`, enhance and encode them into `out`; without an `enhancer` they pass untouched.

    With `faces`, which needs an enhancer, the faces of the enhanced frames are restored.
    `checkpoint` is called between batches and raises to stop. A frame that the source does not give is left out and
    reported; with `spec.strict` any damage raises EnhanceError. `out` is empty when no frame came at all.
    """
    decoder = RunDecoder(run)
    header = decoder.header
    clock = Clock()
    sizes: Sizes = {}
    if faces is not None:
        faces.start(header.first)
    with ChunkEncoder(out, header.encoding) as encoder:
        for batch in _batches(decoder, clock, sizes, faces):
            checkpoint(encoder.frames)
            for ordinal, frame in _enhanced(batch, header, enhancer, faces, clock):
                now = time.perf_counter()
                encoder.write(ordinal, frame)
                clock.spend("encode", now)
        now = time.perf_counter()
    clock.spend("encode", now)
    damage = decoder.damage
    if spec.strict and damage:
        span = damage[0]
        raise EnhanceError(f"frame {span.first} is damaged ({span.reason}); run without --strict to restore the rest.")
    record: dict[str, object] = {
        "seconds": {k: round(v, 4) for k, v in clock.seconds.items()},
        **(enhancer.record() if enhancer else {}),
        **({"faces": faces.record()} if faces else {}),
    }
    return FilmResult(
        frames=encoder.frames,
        reorder=encoder.reorder,
        width=header.encoding.width,
        height=header.encoding.height,
        damage=[(s.first, s.count, s.reason) for s in damage],
        notes=[
            f"{len(p)} frames from {p[0]} on are {w}x{h} in the source and are scaled to the film's size"
            for (w, h), p in sizes.items()
        ]
        + (faces.notes() if faces else []),
        record=record,
    )


def _batches(
    decoder: RunDecoder, clock: Clock, sizes: Sizes, faces: FaceRestorer | None
) -> Iterator[list[tuple[int, VideoFrame]]]:
    """Owned frames with their ordinals, a few at a time; frames of one batch have one size and format. Other sizes than
    the film's go to `sizes`, and the frames before the owned ones that decide about their faces to `faces`."""
    header = decoder.header
    batch: list[tuple[int, VideoFrame]] = []
    shape: tuple[int, int, str] | None = None
    frames = deinterlaced(decoder, header.scanning) if header.deinterlace else iter(decoder)
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
        look = (frame.width, frame.height, frame.format.name)
        if batch and (look != shape or len(batch) == BATCH):
            yield batch
            batch = []
        if look[:2] != (header.width, header.height):
            sizes.setdefault(look[:2], []).append(position)
        shape = look
        batch.append((ordinal, frame))
    if batch:
        yield batch


def _enhanced(
    batch: list[tuple[int, VideoFrame]],
    header: RunHeader,
    enhancer: Enhancer | None,
    faces: FaceRestorer | None,
    clock: Clock,
) -> Iterator[tuple[int, VideoFrame]]:
    encoding = header.encoding
    if enhancer is None or (enhancer.identity and faces is None):
        for ordinal, frame in batch:
            yield ordinal, _as_it_is(frame, header)
        return
    import torch  # identity needs neither: a worker that only copies starts in a second and stays small

    from workers import colour

    now = time.perf_counter()
    rgb = torch.cat([_rgb(frame, header, enhancer.device) for _, frame in batch])
    now = clock.spend("to_rgb", now)
    larger = enhancer.frames(rgb, (encoding.height, encoding.width))
    now = clock.spend("enhance", now)
    if faces is not None:
        larger = faces.apply(rgb, larger)
        clock.spend("faces", now)
    for i, (ordinal, _) in enumerate(batch):
        now = time.perf_counter()
        frame = colour.from_rgb(larger[i : i + 1], encoding.pix_fmt, encoding.colour)
        clock.spend("from_rgb", now)
        yield ordinal, frame


def _rgb(frame: VideoFrame, header: RunHeader, device: str) -> torch.Tensor:
    from workers import colour

    return colour.to_rgb(frame, header.colour, device)


def _as_it_is(frame: VideoFrame, header: RunHeader) -> VideoFrame:
    """`frame` untouched, but for what the encoding cannot hold: another colour model, or another size than the film's."""
    encoding = header.encoding
    if pixel_class(frame.format.name).model != pixel_class(encoding.pix_fmt).model:
        from workers import colour

        frame = colour.from_rgb(colour.to_rgb(frame, header.colour), encoding.pix_fmt, encoding.colour)
    frame = same_samples(frame, encoding.pix_fmt)
    if (frame.width, frame.height) != (encoding.width, encoding.height):
        frame = frame.reformat(width=encoding.width, height=encoding.height, interpolation="LANCZOS")
    return frame
