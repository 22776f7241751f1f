"""The statement of what a film's result must hold, from the source alone: its index, its chapters, its sound."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from contract.film import FilmIndex, SourceStream
from contract.job import Codec, Natural, Positive
from media.columns import pack, unpack
from media.container_clock import container_tick
from media.demuxing import holds_early
from media.piece import window_of
from orchestrator.witness.result_reading import ReadChapter, ResultReading, canonical, read_chapters

if TYPE_CHECKING:
    from av.container import InputContainer

WRITTEN: dict[Codec, str] = {
    "x264": "h264", "x265": "hevc", "svtav1": "av1", "vp9": "vp9", "ffv1": "ffv1", "prores": "prores",
    "h264_nvenc": "h264", "hevc_nvenc": "hevc", "av1_nvenc": "av1",
}  # fmt: skip
"""FFmpeg's name of what each target codec writes."""
TIME_CODE, CHAPTERS = "tmcd", "bin_data"
"""Tracks of data that mp4 and mov make for time code and for chapters: FFmpeg's names."""


class Heard(Struct, frozen=True, forbid_unknown_fields=True):
    """A copied stream of the source as the same decoder reads it: samples a channel, complaints, frames of a picture."""

    samples: Natural
    complained: Natural
    frames: Natural = 0


class ExpectedStream(Struct, frozen=True, forbid_unknown_fields=True):
    """A stream that must be in the result. `packets` are the source's; with `fewer` some could not be copied, as notes say."""

    source: Natural
    kind: str
    codec: str
    packets: Natural = 0
    fewer: bool = False
    heard: Heard | None = None
    payload: Natural = 0

    @property
    def words(self) -> str:
        """Name it in a sentence."""
        return f"stream {self.source} of the source ({self.kind}, {self.codec})"


class Expectation(Struct, frozen=True, forbid_unknown_fields=True):
    """Streams, frames, times and chapters that a result must have.

    `times` are those of all frames of the index, in `base`; `frames` is how many were delivered, fewer where damage has
    cost some. Times may be rounded to `tick` seconds. Nothing else than `streams` may be there but `own`, the kinds and
    codecs of tracks that the container makes itself.
    """

    container: str
    film: Natural
    size: tuple[Positive, Positive]
    frames: Natural
    times: bytes
    base: tuple[Positive, Positive]
    tick: tuple[Natural, Positive]
    earliest: float
    """Seconds at which the first of the source's streams starts, below 0 for what some containers cannot hold."""
    streams: tuple[ExpectedStream, ...]
    own: tuple[tuple[str, str], ...] = ()
    chapters: tuple[ReadChapter, ...] = ()


def expected_result(
    index: FilmIndex,
    source: InputContainer,
    delivered: int,
    heard: Mapping[int, Heard],
    fewer: Collection[int] = (),
) -> Expectation:
    """Return what the result of the film in `source` must hold. `heard` are the source's streams as they decode."""
    base = Fraction(*index.time_base)
    pts, moved = unpack(index.pts) + index.moved, index.moved * base
    tick = container_tick(index.container, pts, base)
    timed = [s for s in index.streams if s.copied and s.packets and s.kind != "cover"]
    starts = [Fraction(s.start) + moved for s in timed]
    starts = [at for at, s in zip(starts, timed, strict=True) if not holds_early(index.container, at, s.packets)]
    chapters = read_chapters(source, window_of(index), moved)
    own = []
    if index.container in ("mp4", "mov"):
        tags = [source.metadata, *(stream.metadata for stream in source.streams)]
        own += [("data", TIME_CODE)] if any("timecode" in found for found in tags) else []
        own += [("data", CHAPTERS)] if chapters else []
    return Expectation(
        container=index.container,
        film=index.stream,
        size=(index.encoding.width, index.encoding.height),
        frames=delivered,
        times=pack(pts),
        base=index.time_base,
        tick=(tick.numerator, tick.denominator),
        earliest=float(min([int(pts[0]) * base, *starts])),
        streams=tuple(
            _stream(known, index, source, heard, known.index in fewer)
            for known in index.streams
            if known.copied or known.index == index.stream
        ),
        own=tuple(own),
        chapters=chapters,
    )


def _stream(
    known: SourceStream, index: FilmIndex, source: InputContainer, heard: Mapping[int, Heard], fewer: bool
) -> ExpectedStream:
    if known.index == index.stream:
        return ExpectedStream(known.index, "video", WRITTEN[index.encoding.codec])
    attached: Any = source.streams[known.index]  # PyAV's stubs know no attachments
    return ExpectedStream(
        known.index,
        known.kind,
        canonical(known.converted or known.codec),
        known.packets,
        fewer,
        heard.get(known.index),
        zlib.crc32(attached.data) if known.kind == "attachment" else known.crc if known.kind == "cover" else 0,
    )


def unjudged(reading: ResultReading, index: FilmIndex, heard: Mapping[int, Heard]) -> set[int]:
    """Return the copied streams of the source that must be decoded too before the result's can be judged."""
    if not reading.whole and not any(stream.complained for stream in reading.streams):
        return set()
    decoded = {s.index for s in index.streams if s.copied and s.kind in ("audio", "video") and s.index != index.stream}
    return decoded - heard.keys()
