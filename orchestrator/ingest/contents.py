"""Survey of what a film's packets carry beside samples: messages, time code, recording dates, encryption.

Every packet is read.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from contract.film import UNPLACED, TimeMark
from media.bitstream import HEAD
from media.clock_stamps import ClockStamps
from media.parameter_sets import length_size
from media.picture_messages import PictureMessages
from media.time_code import RATES, Run, TimeCode, recordings, runs, stamp_of

if TYPE_CHECKING:
    from fractions import Fraction

    import numpy.typing as npt
    from av.packet import Packet
    from av.video.stream import VideoStream

    Column = npt.NDArray[np.int64]

NAMED = 5
"""Breaks of time code that a note names; the rest is counted."""


@dataclass
class FilmContents:
    """Collector of messages in the packets of the film's stream. Call `see` for each packet in decode order."""

    codec: str
    extradata: bytes
    codes: list[tuple[int, TimeCode]] = field(default_factory=list)
    """Time code by packet id."""
    recorded: list[tuple[int, datetime.datetime]] = field(default_factory=list)
    """Recording times by packet id."""
    encrypted: int = 0
    """Packets that the container marks as encrypted."""

    def __post_init__(self) -> None:
        self.messages = PictureMessages(self.codec, length_size(self.codec, self.extradata))
        self._clocks = ClockStamps(self.codec, self.extradata) if self.codec in ("h264", "hevc") else None

    def see(self, number: int, packet: Packet[VideoStream]) -> None:
        """Read packet `number`."""
        self.encrypted += packet.has_sidedata("encryption_info")
        if packet.has_sidedata("new_extradata"):
            self.messages.length_size = length_size(self.codec, bytes(packet.get_sidedata("new_extradata")))
        whole = memoryview(packet)
        self.messages.see(number, bytes(whole[:HEAD]))
        if self._clocks is not None:
            if packet.is_keyframe:
                self._clocks.key(bytes(whole[:HEAD]), self.messages.length_size)
            code = self._clocks.read(self.messages.timing) if self.messages.timing else None
            if code is not None:
                self.codes.append((number, code))
            return
        stamp = stamp_of(self.codec, bytes(whole) if self.codec == "dvvideo" else bytes(whole[:HEAD]))
        if stamp is not None:
            if stamp.code is not None:
                self.codes.append((number, stamp.code))
            if stamp.recorded is not None:
                self.recorded.append((number, stamp.recorded))

    def keep(self, wanted: npt.NDArray[np.bool_]) -> None:
        """Forget what packets carry that are not `wanted` (a flag of each packet id)."""
        self.codes = [(n, code) for n, code in self.codes if wanted[n]]
        self.recorded = [(n, recorded) for n, recorded in self.recorded if wanted[n]]
        kept = {name: [n for n in ids if wanted[n]] for name, ids in self.messages.found.items()}
        self.messages.found = {name: ids for name, ids in kept.items() if ids}

    def time_code(self, positions: Column, pts: Column, base: Fraction) -> list[Run]:
        """Return where the pictures' own time code begins and breaks."""
        placed = [(_place(number, positions), code) for number, code in self.codes]
        return runs([(p, float(int(pts[p]) * base), code) for p, code in sorted(placed, key=lambda c: c[0])])

    def notes(self, what: str, positions: Column, pts: Column, base: Fraction) -> list[str]:
        """Describe the contents in sentences. `positions` is of each packet id, `pts` of each position."""
        said = []
        for name, ids in self.messages.found.items():
            places = [_place(number, positions) for number in ids]
            said.append(f"{what} holds {name} in {_frames(len(ids), min(places), max(places))}")
        found = self.time_code(positions, pts, base)
        if len(found) > 1 or (found and found[0].code.number(RATES[-1])):
            said.append(f"the pictures of {what} carry time code: {_listed(found)}")
        dated = [(_place(number, positions), recorded) for number, recorded in self.recorded]
        shots = recordings([(p, float(int(pts[p]) * base), recorded) for p, recorded in sorted(dated)])
        if shots:
            listed = ", ".join(f"{time:%Y-%m-%d %H:%M:%S} from frame {p}" for p, time in shots[:NAMED])
            more = f" and {len(shots) - NAMED} more" if len(shots) > NAMED else ""
            said.append(f"{what} was recorded at {listed}{more}")
        return said

    def marks(self, positions: Column, pts: Column, base: Fraction) -> list[TimeMark]:
        """Return time code, where it is set, and recording dates."""
        found = self.time_code(positions, pts, base)
        marks = [TimeMark(run.first, "time_code", str(run.code), "the pictures") for run in found]
        if len(found) == 1 and not found[0].code.number(RATES[-1]):
            marks = []
        dated = [(_place(number, positions), recorded) for number, recorded in self.recorded]
        shots = recordings([(p, float(int(pts[p]) * base), recorded) for p, recorded in sorted(dated)])
        return marks + [TimeMark(p, "recorded", time.isoformat(), "the pictures") for p, time in shots]


def within(samples: Sequence[tuple[float, int]], pts: Column, base: Fraction) -> tuple[tuple[float, int], ...]:
    """Return the samples of a track of time code that run in the frames at `pts`; arguments as of `track_notes`."""
    start, end = (float(int(pts[n]) * base) for n in (0, -1))
    running = [s for s in samples if s[0] <= start][-1:]
    exact = _exact_rate(pts, base)
    begun = [(start, number + round((start - seconds) * exact)) for seconds, number in running]
    return tuple(begun + [s for s in samples if start < s[0] <= end])


def _track_rate(pts: Column, base: Fraction) -> int:
    steps = np.diff(pts)
    exact = 1 / float(np.median(steps) * base) if len(steps) else 25.0
    return min(RATES, key=lambda r: abs(r - exact))


def _exact_rate(pts: Column, base: Fraction) -> float:
    """Return how many frames of time code pass in a second: a rate of RATES, or that of NTSC next to it."""
    rate = _track_rate(pts, base)
    shown = (len(pts) - 1) / float(int(pts[-1] - pts[0]) * base) if len(pts) > 1 else float(rate)
    return min((float(rate), rate * 1000 / 1001), key=lambda r: abs(r - shown))


def track_runs(samples: Sequence[tuple[float, int]], first: str, pts: Column, base: Fraction) -> list[Run]:
    """Return where the time code of a track begins and breaks; arguments as of `track_notes`."""
    if not samples:
        return []
    rate = _track_rate(pts, base)
    codes = []
    for seconds, number in samples:
        position = min(int(np.searchsorted(pts, round(seconds / float(base)) - 1)), len(pts) - 1)
        codes.append((position, seconds, TimeCode.of_number(number, rate, ";" in first)))
    return runs(codes)


def track_notes(
    what: str, stream: int, samples: Sequence[tuple[float, int]], first: str, pts: Column, base: Fraction
) -> list[str]:
    """Describe a track of time code (QuickTime tmcd) that has several samples.

    `samples` are (seconds, frame number); `first` is the first one in words, as the container gives it.
    """
    found = track_runs(samples, first, pts, base)
    return (
        [f"the time code of {what} (stream {stream}) is in {len(found)} parts: {_listed(found)}"]
        if len(found) > 1
        else []
    )


def _listed(found: list[Run]) -> str:
    listed = ", ".join(f"{run.code} from frame {run.first}" for run in found[:NAMED])
    return listed + (f" and {len(found) - NAMED} more breaks" if len(found) > NAMED else "")


def _frames(count: int, first: int, last: int) -> str:
    return f"frame {first}" if count == 1 else f"{count} frames, from frame {first} to frame {last}"


def _place(number: int, positions: Column) -> int:
    """Return the position of a packet's frame, or of the next packet that gives one."""
    later = positions[number:]
    placed = later[later != UNPLACED][:1] if len(later) and later[0] == UNPLACED else later[:1]
    return int(placed[0]) if len(placed) else max(0, int(positions.max(initial=0)))
