"""Verification: the finished file is read back and compared with the plan before the job is done."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from contract.errors import VerifyError
from contract.film import FilmIndex
from media.columns import unpack
from media.container_clock import container_tick
from media.demuxing import demux
from media.opening import open_media
from media.piece import chapters_of, window_of
from orchestrator.assemble.concat import late

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream

    from contract.job import Chunk, Done, Spec

NO_TIME = -(1 << 62)
LATEST_START = 10.0
"""Seconds by which a transport stream may start later as a whole."""
SYNC = Fraction(1, 1000)
"""Seconds by which sound and subtitles may move against the film."""
REWRITTEN = frozenset(("aac", "opus", "libopus", "h264", "hevc", "av1", "libdav1d", "dvbsub", "wavpack"))
"""Codecs whose packets differ between containers (ADTS and Opus headers, start codes).

Muxers rewrite them, so bytes are only comparable between containers of one kind."""


@dataclass
class Track:
    """The packets of one stream: times in `time_base`, and the CRC-32 of all payloads."""

    time_base: Fraction
    pts: array[int] = field(default_factory=lambda: array("q"))
    crc: int = 0

    def add(self, packet: Packet[Stream]) -> None:
        """Add a packet in decode order."""
        self.pts.append(NO_TIME if packet.pts is None else packet.pts)
        self.crc = zlib.crc32(packet, self.crc)


def read_tracks(container: InputContainer, wanted: set[int]) -> dict[int, Track]:
    """Demux the streams in `wanted` to the end."""
    tracks = {i: Track(Fraction(container.streams[i].time_base or 1)) for i in wanted}
    for packet in demux(container, wanted, []):
        tracks[packet.stream_index].add(packet)
    return tracks


def verify_film(out: Path, index: FilmIndex, spec: Spec, source: BinaryIO, frames: int | None = None) -> None:
    """Raise VerifyError unless `out` holds the planned film: size, chapters, every frame at its time.

    `frames` is the number that the chunks delivered if damage has cost some; by default all of the index. `check_copies`
    checks the copied streams.
    """
    expected = unpack(index.pts)
    with open_media(source, "the source") as original:
        chapters = len(
            {c["start"] * (c["time_base"] or 1) for c in chapters_of(original, window_of(index))}
        )  # see `lost_tags` about equal ones
    with out.open("rb") as file, open_media(file, "the result") as result:
        number = film_number(result, index)
        context = result.streams[number].codec_context
        shape = (context.width, context.height)  # type: ignore[attr-defined]
        if shape != (index.encoding.width, index.encoding.height):
            planned = f"{index.encoding.width}x{index.encoding.height}"
            raise VerifyError(f"the result's frames are {shape[0]}x{shape[1]}, planned were {planned}.")
        if len(result.chapters()) < chapters:
            raise VerifyError(f"the result has {len(result.chapters())} chapters, the source {chapters}.")
        found = read_tracks(result, {number})[number]
    _check_times(found, expected, index, len(expected) if frames is None else frames)
    if spec.strict and frames is not None and frames != len(expected):
        raise VerifyError(f"the source gives {frames} of {len(expected)} frames; run without --strict to keep those.")


def film_number(container: InputContainer, index: FilmIndex) -> int:
    """Return the index of the film's stream in a result: behind the streams that are copied from before it."""
    covers = index.container == "matroska"  # which takes them for attachments
    before = [
        s
        for s in index.streams
        if s.index < index.stream and s.copied and s.kind != "attachment" and not (covers and s.kind == "cover")
    ]
    number = len(before)
    if number >= len(container.streams) or container.streams[number].type != "video":
        raise VerifyError("the result has no film in it.")
    return number


def check_copies(out: Path, index: FilmIndex, copied: Mapping[int, tuple[int, Track]]) -> None:
    """Raise VerifyError unless every packet of the streams in `copied` has arrived with its bytes and its time.

    `copied` holds, by source stream, the result's stream and the packets given to the muxer.
    """
    with out.open("rb") as file, open_media(file, "the result") as result:
        gone = [source for source, (number, _) in copied.items() if number >= len(result.streams)]
        if gone:
            raise VerifyError(f"stream {gone[0]} of the source is not in the result; name the result .mkv.")
        found = read_tracks(result, {number for number, _ in copied.values()})
    alike = index.container in index.format.split(",")
    known = {s.index: s for s in index.streams}
    for source, (number, given) in copied.items():
        real = found[number]
        what = f"stream {source} ({known[source].kind}, {known[source].codec})"
        codec = known[source].converted or known[source].codec
        divided = codec.startswith("pcm_")  # mov and mp4 cut samples into packets of their own
        if len(real.pts) != len(given.pts) and not divided:
            raise VerifyError(f"{what} has {len(real.pts)} packets in the result, {len(given.pts)} were copied.")
        if real.crc != given.crc and (alike or codec not in REWRITTEN):
            raise VerifyError(f"{what} has other bytes in the result than in the source.")
        before, after = np.array(given.pts, dtype=np.int64), np.array(real.pts, dtype=np.int64)
        if divided and len(before) != len(after):
            before, after = before[:1], after[:1]
        timed = (before != NO_TIME) & (after != NO_TIME)
        moved = after[timed] * float(real.time_base) - before[timed] * float(given.time_base)
        if known[source].kind != "cover" and len(moved) and np.abs(moved).max() > float(SYNC) + 1e-9:
            raise VerifyError(f"{what} is out of sync by {np.abs(moved).max() * 1000:.2f} ms in the result.")


def _check_times(track: Track, expected: npt.NDArray[np.int64], index: FilmIndex, frames: int) -> None:
    times = np.sort(np.array(track.pts, dtype=np.int64))
    if len(times) != frames:
        raise VerifyError(f"the result has {len(times)} frames, promised were {frames}.")
    if (np.diff(times) <= 0).any():
        shared = int((np.diff(times) <= 0).sum())
        raise VerifyError(f"{shared} frames of the result are shown at the time of another; name the result .mov.")
    clock = container_tick(index.container, expected, Fraction(*index.time_base))
    allowed = float(clock) / 2 + 1e-9
    planned = expected * float(Fraction(*index.time_base))
    real = times * float(track.time_base)
    planned += late(index, 0) * float(Fraction(*index.time_base))
    if index.container == "mpegts" and len(real) and planned[0] < real[0] <= planned[0] + LATEST_START:
        real = real - (real[0] - planned[0])  # room for decode times, and for what the muxer adds
        allowed *= 2  # the first time was rounded, too
    at = np.clip(np.searchsorted(planned, real - allowed), 0, len(planned) - 1)
    off = np.abs(planned[at] - real)
    if off.max(initial=0) > allowed:
        worst = int(off.argmax())
        raise VerifyError(
            f"frame {worst} of the result is shown at {real[worst]:.6f} s, but the nearest planned time is "
            f"{planned[at[worst]]:.6f} s."
        )


def check_frames(index: FilmIndex, chunks: Sequence[Chunk], commits: Sequence[Done]) -> None:
    """Raise VerifyError unless `commits` account for each frame of `index`, as delivered or as missing in the source.

    Commits of version 1 do not count missing frames; there each short chunk must report damage.
    """
    if [(part.first, part.count) for part in index.chunks] != [(chunk.first, chunk.count) for chunk in chunks]:
        raise VerifyError("the film's index has other chunks than the plan; `respool retry` the job to plan it again.")
    for chunk, commit in zip(chunks, commits, strict=True):
        excused = commit.missing if commit.work else chunk.count - commit.frames if commit.damage else 0
        if commit.frames + excused != chunk.count:
            raise VerifyError(
                f"{chunk.label} has {commit.frames} of {chunk.count} frames and does not say why; retry the job."
            )
        if excused and not commit.damage:
            raise VerifyError(f"{chunk.label} misses {excused} frames and names none as damaged; retry the job.")
