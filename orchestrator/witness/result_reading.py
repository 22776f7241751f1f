"""The reading of a delivered film: every stream listed, picture and sound decoded to the end, by the plainest way.

It takes a file and nothing else: no plan, no chunks. `orchestrator.witness.result_check` judges it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
import zlib
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import numpy as np
import numpy.typing as npt
from av.codec.codec import UnknownCodecError
from msgspec import Struct

from contract.job import Natural, Witness
from media.columns import pack, unpack
from media.copied_streams import codec_name
from media.demuxing import codec_in, header_dump
from media.opening import DecoderLog, open_media
from media.piece import Window, chapters_of
from media.plain_decode import NO_TIME, FileReading, Look, StreamReading, read_file

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream

LEAST_SAMPLE = 500
"""Frames that are decoded at least in a sample; of longer films it is the first tenth."""
LAYERS = {"mp1": "mp3", "mp2": "mp3", "eac3": "ac3"}
"""MPEG audio by one name, as mp4 and mov have no others for its layers, and AC-3 by one: NUT calls E-AC-3 so, too."""
MOST_THREADS = 16
THREADS_BYTES = 1 << 30
"""Memory for the frames that a decoder's threads hold, beside those that one thread holds."""
FRAME_BYTES = 6
"""Bytes of a pixel that a thread holds: two frames of 4:2:0 at over 8 bits."""
MICROSECOND = Fraction(1, 1_000_000)


class ReadStream(Struct, frozen=True, forbid_unknown_fields=True):
    """One stream of a result. Times are in seconds; `times` are those of all frames of a picture, as they came out."""

    index: Natural
    kind: str
    codec: str
    base: tuple[int, int]
    packets: Natural
    frames: Natural
    samples: Natural
    sizes: tuple[tuple[int, int], ...]
    begins: float | None
    ends: float | None
    length: float | None
    """The length that the container announces for it."""
    untimed: Natural
    times: bytes
    complained: Natural
    complaints: tuple[tuple[int, str], ...]
    payload: Natural = 0
    """CRC-32 of an attachment or a cover."""
    disposition: Natural = 0
    looks: bytes = b""
    """Coarse pictures of the frames that were decoded (`media.likeness`)."""

    @property
    def shown(self) -> npt.NDArray[np.int64]:
        """Return the times of the frames of a picture, in `base`."""
        return unpack(self.times)


class ReadChapter(Struct, frozen=True, forbid_unknown_fields=True):
    """A chapter: seconds at which it starts and ends, and its title."""

    start: float
    end: float
    title: str


class ResultReading(Struct, frozen=True, forbid_unknown_fields=True):
    """A delivered film as it was read. `whole` is False where only a part of it was decoded."""

    format: str
    streams: tuple[ReadStream, ...]
    chapters: tuple[ReadChapter, ...]
    length: float | None
    """The length that the container announces."""
    whole: bool
    broken: str
    complaints: tuple[str, ...]
    cpu_s: float

    @property
    def films(self) -> list[ReadStream]:
        """Return the pictures that are no covers."""
        return [s for s in self.streams if s.kind == "video"]


def sampled(choice: Witness, frames: int) -> int | None:
    """Return after how many of `frames` decoding ends; None for the whole film."""
    return None if choice == "full" else max(LEAST_SAMPLE, frames // 10)


def read_result(
    result: BinaryIO, what: str, limit: int | None = None, checkpoint: Callable[[], None] = lambda: None
) -> ResultReading:
    """List all of `result`, and decode its picture and sound to the end, or until a picture has `limit` frames.

    Raises BadInput for a file that cannot be opened as a film.
    """
    began = time.process_time()
    with contextlib.ExitStack() as stack:
        # This collector hears this thread before any other does, and must be gone when the decoders run.
        with DecoderLog("") as log:
            log.awaited = frozenset(("",))
            container = stack.enter_context(open_media(result, what))
            opening = [*log.take_of(container.format.name), *log.take_of("")]  # of a short file, opening reads all
        look = Look(limit=limit, threads=_threads(container), everything=True, coarse=True, checkpoint=checkpoint)
        reading = read_file(container, look)
        dump = header_dump(container)
        streams = tuple(_stream(reading.streams[s.index], s, reading, dump) for s in container.streams)
        chapters = read_chapters(container)
        length = None if container.duration is None else float(container.duration * MICROSECOND)
    return ResultReading(
        reading.format,
        streams,
        chapters,
        length,
        reading.whole,
        reading.broken,
        (*opening, *reading.complaints),
        round(time.process_time() - began, 3),
    )


def _threads(container: InputContainer) -> int:
    """Return the threads of the decoders: as many as there are processors and memory for their frames."""
    pixels = max((s.codec_context.width * s.codec_context.height for s in container.streams.video), default=1)
    return max(1, min(os.cpu_count() or 1, MOST_THREADS, THREADS_BYTES // max(1, pixels * FRAME_BYTES)))


def summary(reading: ResultReading) -> dict[str, object]:
    """Return what a result's record keeps of its reading, against which it can be held later."""
    streams = [
        {
            "kind": s.kind,
            "codec": s.codec,
            "packets": s.packets,
            "frames": s.frames,
            "samples": s.samples,
            "sizes": [f"{width}x{height}" for width, height in s.sizes],
            "complaints": s.complained,
            "begins_s": None if s.begins is None else round(s.begins, 6),
            "ends_s": None if s.ends is None else round(s.ends, 6),
        }
        for s in reading.streams
    ]
    return {
        "outcome": "sound" if reading.whole else "sound as far as it was decoded",
        "decoded": "all" if reading.whole else "the beginning",
        "streams": streams,
        "chapters": len(reading.chapters),
        "cpu_s": reading.cpu_s,
    }


def _stream(own: StreamReading, stream: Stream, reading: FileReading, dump: str) -> ReadStream:
    shown = own.stamps if own.kind == "video" and not reading.whole else own.times
    times = sorted(shown) if not reading.whole else list(shown)
    base = own.base
    attached: Any = stream  # PyAV's stubs know no attachments
    return ReadStream(
        index=own.index,
        kind="data" if own.kind == "subtitle" and not own.coded else own.kind,  # teletext, say
        codec=canonical(own.coded or codec_in(dump, stream) or codec_name(stream)),
        base=(base.numerator, base.denominator),
        packets=own.listed,
        frames=own.frames,
        samples=own.samples,
        sizes=tuple(sorted(own.sizes)),
        begins=None if own.begins is None else float(own.begins * base),
        ends=None if own.ends is None else float(own.ends * base),
        length=None if stream.duration is None else float(stream.duration * base),
        untimed=sum(time == NO_TIME for time in times),
        times=pack([time for time in times if time != NO_TIME]) if own.kind == "video" else b"",
        complained=own.complained,
        complaints=tuple(own.complaints),
        payload=zlib.crc32(attached.data) if own.kind == "attachment" else own.payload,
        disposition=int(stream.disposition),
        looks=bytes(own.looks) if own.kind == "video" else b"",
    )


def read_chapters(
    container: InputContainer, window: Window | None = None, moved: Fraction = Fraction(0)
) -> tuple[ReadChapter, ...]:
    """Read the chapters of an open file, or of a piece of it, `moved` by some seconds."""
    found = []
    for chapter in chapters_of(container, window):
        base = chapter["time_base"] or Fraction(1)
        title = chapter["metadata"].get("title", "")
        found.append(ReadChapter(float(chapter["start"] * base + moved), float(chapter["end"] * base + moved), title))
    return tuple(found)


@functools.cache
def canonical(codec: str) -> str:
    """Return FFmpeg's name of what a decoder or encoder called `codec` reads or writes."""
    for mode in ("r", "w"):
        try:
            name: str = av.Codec(codec, mode).canonical_name
        except UnknownCodecError:
            continue
        return LAYERS.get(name, name)
    return codec
