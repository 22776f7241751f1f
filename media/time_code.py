"""Time code and recording dates as films carry them: QuickTime tmcd samples, DV subcode, MPEG groups of pictures.

Sources: SMPTE ST 12-1 (drop frame), SMPTE ST 314 (DV packs 0x13, 0x62, 0x63), ITU-T H.262 6.2.2.6 (group of pictures).
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

RATES = (24, 25, 30, 50, 60)
"""Frames a second that time code counts in."""
DV_SEQUENCE, DV_BLOCK = 12000, 80
"""Bytes of a DIF sequence and of a DIF block."""
TOLERANCE = 2
"""Frames by which time code may differ from the film's times before it counts as broken (rounded times, telecine)."""
FIRST_YEAR, FIRST_LATE_YEAR = 90, 70
"""Two digits of the first year that a DV camera can have set, and of the first that is of the 20th century: cameras whose
clock is not set count from 1970 or 1980."""
PAUSE_S = 3
"""Seconds between recording times beyond which the camera was stopped."""


@dataclass(frozen=True)
class TimeCode:
    """Hours, minutes, seconds and frames; `drop` counts as NTSC's drop frame code does."""

    hours: int
    minutes: int
    seconds: int
    frames: int
    drop: bool = False

    def __str__(self) -> str:
        return f"{self.hours:02d}:{self.minutes:02d}:{self.seconds:02d}{';' if self.drop else ':'}{self.frames:02d}"

    def number(self, rate: int) -> int:
        """Return the count of frames since 00:00:00:00 at `rate` frames a second."""
        minutes = self.hours * 60 + self.minutes
        count = (minutes * 60 + self.seconds) * rate + self.frames
        return count - (rate // 15) * (minutes - minutes // 10) if self.drop else count

    @classmethod
    def of_number(cls, count: int, rate: int, drop: bool) -> TimeCode:
        """Return the time code of frame number `count`, which wraps after 24 hours."""
        if drop:
            skipped, ten = rate // 15, 600 * rate - 9 * (rate // 15)
            tens, rest = divmod(count, ten)
            minute = 60 * rate - skipped
            count += 9 * skipped * tens + (skipped * ((rest - skipped) // minute) if rest > skipped else 0)
        seconds, frames = divmod(count, rate)
        return cls(seconds // 3600 % 24, seconds // 60 % 60, seconds % 60, frames, drop)


@dataclass(frozen=True)
class Stamp:
    """Time code and recording date of one packet."""

    code: TimeCode | None
    recorded: datetime.datetime | None = None


@dataclass(frozen=True)
class Run:
    """Time code that runs on from position `first`."""

    first: int
    code: TimeCode


def stamp_of(codec: str, data: bytes) -> Stamp | None:
    """Return what a packet of `codec` (FFmpeg's name) says, None where it says nothing."""
    if codec == "dvvideo":
        return _dv(data)
    if codec in ("mpeg1video", "mpeg2video"):
        at = data.find(b"\0\0\1\xb8", 0, 4096)
        return Stamp(_group(data[at + 4 : at + 8])) if 0 <= at < len(data) - 8 else None
    return None


def _group(data: bytes) -> TimeCode:
    bits = int.from_bytes(data, "big")
    return TimeCode(bits >> 26 & 31, bits >> 20 & 63, bits >> 13 & 63, bits >> 7 & 63, bool(bits >> 31))


def _dv(data: bytes) -> Stamp | None:
    packs: dict[int, bytes] = {}
    for sequence in range(0, len(data) - 3 * DV_BLOCK, DV_SEQUENCE):
        for block in (sequence + DV_BLOCK, sequence + 2 * DV_BLOCK):
            if data[block] >> 5 != 1:
                continue
            for pack in range(block + 6, block + 54, 8):
                packs.setdefault(data[pack], data[pack + 1 : pack + 5])
        if {0x13, 0x62, 0x63} <= packs.keys():
            break
    code = _clock(packs[0x13]) if 0x13 in packs else None
    clock = _clock(packs[0x63]) if 0x62 in packs and 0x63 in packs else None
    recorded = _date(packs[0x62], clock) if clock is not None else None
    return Stamp(code, recorded) if code or recorded else None


def _date(pack: bytes, clock: TimeCode) -> datetime.datetime | None:
    """Return the recording time, which knows no time zone; None where it is not set."""
    year = _bcd(pack[3], 15)
    if year > 99 or FIRST_LATE_YEAR <= year < FIRST_YEAR:
        return None
    try:
        return datetime.datetime(  # noqa: DTZ001 - a camera's clock
            (2000 if year < FIRST_LATE_YEAR else 1900) + year, _bcd(pack[2], 1), _bcd(pack[1], 3),
            clock.hours, clock.minutes, clock.seconds,
        )  # fmt: skip
    except ValueError:
        return None


def _bcd(byte: int, tens: int) -> int:
    return (byte >> 4 & tens) * 10 + (byte & 15)


def _clock(pack: bytes) -> TimeCode | None:
    frames, seconds, minutes, hours = (_bcd(b, t) for b, t in zip(pack, (3, 7, 7, 3), strict=True))
    if hours > 23 or minutes > 59 or seconds > 59:
        return None
    return TimeCode(hours, minutes, seconds, frames if frames < 60 else 0, bool(pack[0] & 0x40))


def runs(codes: Sequence[tuple[int, float, TimeCode]]) -> list[Run]:
    """Return where time code begins and breaks. `codes` holds (position, seconds, code) in rising order.

    Time code that stands still (every group of pictures says 00:00:00:00) tells nothing and gives no run.
    """
    if len({str(code) for _, _, code in codes}) < 2 and len(codes) > 1:
        return []
    found = [_runs(codes, rate) for rate in RATES]
    return min(found, key=len) if found else []


def _runs(codes: Sequence[tuple[int, float, TimeCode]], rate: int) -> list[Run]:
    found: list[Run] = []
    start, began = 0, 0.0
    for position, seconds, code in codes:
        exact = rate * 1000 / 1001 if code.drop or rate != 25 else rate
        lasted = seconds - began
        apart = code.number(rate) - start
        if not found or min(abs(apart - lasted * r) for r in (rate, exact)) > TOLERANCE + 0.002 * abs(lasted):
            found.append(Run(position, code))
            start, began = code.number(rate), seconds
    return found


def recordings(stamps: Sequence[tuple[int, float, datetime.datetime]]) -> list[tuple[int, datetime.datetime]]:
    """Return (position, time) at which each recording starts. `stamps` holds (position, seconds, recorded)."""
    found: list[tuple[int, datetime.datetime]] = []
    began: tuple[float, datetime.datetime] | None = None
    for position, seconds, recorded in stamps:
        if began is None or abs((recorded - began[1]).total_seconds() - (seconds - began[0])) > PAUSE_S:
            found.append((position, recorded))
            began = seconds, recorded
    return found
