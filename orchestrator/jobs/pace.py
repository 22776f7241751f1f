"""The pace of a job as one observer sees it: frames a second of working time, and the time left."""

from __future__ import annotations

from collections import deque

_LEAST_S = 60.0
"""Seconds of working time over which the pace is measured at least."""
_SHARE = 0.5
"""Part of the observed working time over which it is measured where that is longer: it follows slow scenes, and no single chunk."""
_SAMPLES = 2000
"""Samples kept; with more, every second one is dropped."""


class Pace:
    """Frames of one job over the time in which workers were at it.

    Time without a worker at the job does not count, and neither does the time until the first frame is made: starting and
    resuming say nothing about the speed.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()
        """Working seconds and frames done, from the first frame made on."""
        self._at = self._working = self._first = 0.0
        self._was_working = self._seen = False

    def look(self, now: float, done: float, working: bool) -> None:
        """Note at `now` (seconds of any steady clock) that `done` frames are made; `working` is True while a worker is at the job."""
        if not self._seen or done < self._first:
            self._samples.clear()
            self._first, self._working, self._seen = done, 0.0, True
        elif working and self._was_working:
            self._working += now - self._at
        self._at, self._was_working = now, working
        if self._samples and done < self._samples[-1][1]:  # a chunk that was nearly ready is made again
            self._samples = deque(s for s in self._samples if s[1] <= done)
        if done > self._first and (not self._samples or self._working > self._samples[-1][0]):
            self._samples.append((self._working, done))
            if len(self._samples) > _SAMPLES:
                self._samples = deque(list(self._samples)[::2])

    @property
    def frames_a_second(self) -> float | None:
        """Frames a second of working time; None while fewer than two samples tell."""
        if len(self._samples) < 2:
            return None
        since = self._working - max(_LEAST_S, _SHARE * (self._working - self._samples[0][0]))
        began, before = next(s for s in self._samples if s[0] >= since or s is self._samples[-1])
        if began == self._samples[-1][0]:
            began, before = self._samples[-2]
        spent = self._working - began
        made = self._samples[-1][1] - before
        return made / spent if made > 0 and spent > 0 else None
