"""Marks that a worker keeps of each owned frame for the witnesses: its fingerprint, and its coarse picture."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from media.fingerprints import ABSENT, Prints, fingerprint, pack_prints
from media.likeness import coarse_picture

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from contract.packets import RunHeader


@dataclass
class Clock:
    """Seconds that each stage worked; stages work at the same time under different names."""

    seconds: dict[str, float] = field(default_factory=dict)

    def spend(self, stage: str, since: float) -> float:
        """Add the seconds from `since` until now to `stage`; return the time now."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - since
        return now


class FrameMarks:
    """Marks of the frames that a chunk owns."""

    def __init__(self, header: RunHeader, clock: Clock) -> None:
        self._first, self._count, self._clock = header.first, header.count, clock
        self._prints: Prints = np.full(header.count, ABSENT, np.uint32)
        self._looks: dict[int, bytes] = {}

    def decoded(self, frames: Iterable[tuple[int, VideoFrame]]) -> Iterator[tuple[int, VideoFrame]]:
        """Yield `frames` on, as they come out of the decoder; keep the fingerprints."""
        for position, frame in frames:
            ordinal = position - self._first
            if 0 <= ordinal < self._count:
                now = time.perf_counter()
                self._prints[ordinal] = fingerprint(frame)
                self._clock.spend("fingerprint", now)
            yield position, frame

    def enhanced(self, frames: Iterable[tuple[int, VideoFrame]]) -> Iterator[tuple[int, VideoFrame]]:
        """Yield `frames` on, as they go to be enhanced; keep their coarse pictures."""
        for position, frame in frames:
            ordinal = position - self._first
            if 0 <= ordinal < self._count:
                now = time.perf_counter()
                self._looks[ordinal] = coarse_picture(frame)
                self._clock.spend("fingerprint", now)
            yield position, frame

    @property
    def prints(self) -> bytes:
        """Return the fingerprints of all owned frames, ABSENT for those that the source does not have."""
        return pack_prints(self._prints)

    @property
    def looks(self) -> bytes:
        """Return the coarse pictures of the frames that were enhanced, in order."""
        return b"".join(look for _, look in sorted(self._looks.items()))
