"""The last look: the finished file is read back and held against the plan before anybody calls it done."""

from __future__ import annotations

import zlib
from array import array
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

import av.error
import numpy as np
import numpy.typing as npt
from av.stream import Discard

from contract.errors import VerifyError
from contract.film import FilmIndex, unpack
from contract.media import open_media
from orchestrator.containers import codec_name

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import InputContainer

    from contract.job import Spec

TOLERANCE = {"matroska": Fraction(1, 1000), "webm": Fraction(1, 1000), "mpegts": Fraction(1, 45000)}
"""Seconds by which a container's own clock may round a time: half a tick to either side; mp4, mov and nut are exact
where their time scale can be the source's."""


@dataclass
class Track:
    """One stream as read back: times in seconds' fractions, and a checksum of all payloads."""

    codec: str
    time_base: Fraction
    pts: array[int] = field(default_factory=lambda: array("q"))
    crc: int = 0
    size: int = 0


def read_tracks(container: InputContainer, wanted: set[int]) -> dict[int, Track]:
    """Demux the streams in `wanted` to the end."""
    tracks = {s.index: Track(codec_name(s), Fraction(s.time_base or 1)) for s in container.streams if s.index in wanted}
    for stream in container.streams:
        if stream.index not in wanted:
            stream.discard = Discard.all
    packets = container.demux([container.streams[i] for i in sorted(wanted)]) if wanted else iter(())
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            break
        if packet is None:
            break
        if packet.size == 0 and packet.pts is None:
            continue
        track = tracks[packet.stream_index]
        track.pts.append(packet.pts if packet.pts is not None else -(1 << 62))
        track.crc = zlib.crc32(packet, track.crc)
        track.size += packet.size
    return tracks


def verify_film(out: Path, index: FilmIndex, spec: Spec, source: BinaryIO, frames: int | None = None) -> None:
    """Raise VerifyError unless `out` holds what the plan promised: every frame at its time, every copied stream.

    `frames` is how many the chunks delivered, when damage has cost some; by default all of the index.
    """
    expected = unpack(index.pts)
    with out.open("rb") as file, open_media(file, "the result") as result:
        film = next((s for s in result.streams.video if not int(s.disposition) & 1 << 10), None)
        if film is None:
            raise VerifyError("the result has no film in it.")
        shape = (film.codec_context.width, film.codec_context.height)
        if shape != (index.encoding.width, index.encoding.height):
            raise VerifyError(
                f"the result's frames are {shape[0]}x{shape[1]}, planned were {index.encoding.width}x{index.encoding.height}."
            )
        number = film.index
        found = read_tracks(result, {s.index for s in result.streams if s.type in ("video", "audio", "subtitle")})
    _check_times(found[number], expected, index, len(expected) if frames is None else frames)
    del spec, source


def _check_times(track: Track, expected: npt.NDArray[np.int64], index: FilmIndex, frames: int) -> None:
    times = np.sort(np.frombuffer(track.pts, dtype=np.int64)) if track.pts else np.zeros(0, dtype=np.int64)
    if len(times) != frames:
        raise VerifyError(f"the result has {len(times)} frames, promised were {frames}.")
    allowed = float(TOLERANCE.get(index.container, Fraction(0))) / 2 + 1e-9
    planned = expected * float(Fraction(*index.time_base))
    real = times * float(track.time_base)
    at = np.clip(np.searchsorted(planned, real - allowed), 0, len(planned) - 1)
    wrong = np.abs(planned[at] - real) > allowed
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise VerifyError(
            f"frame {first} of the result is shown at {real[first]:.6f} s, but the nearest planned time is {planned[at[first]]:.6f} s."
        )
