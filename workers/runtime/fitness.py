"""A worker's withdrawal: one that is broken takes no work until a test passes, and rests while Redis or S3 is away."""

from __future__ import annotations

import logging
import random
import threading
import time

from workers.runtime.health import Blame, Health, blame
from workers.runtime.metrics import Meter

logger = logging.getLogger(__name__)

FAILURES = 3
"""Attempts that may fail in a row before the worker tests itself."""

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0


class Fitness:
    """Fitness of a worker process, judged by its last attempts. `stop` is set when the process is to end."""

    def __init__(self, health: Health, meter: Meter, stop: threading.Event, longest_s: float) -> None:
        """Let no withdrawal last longer than `longest_s`: Celery ends a task that takes too long."""
        self._health, self._meter, self._stop, self._longest = health, meter, stop, longest_s
        self._in_a_row = 0
        self._outages = 0
        self._lock = threading.Lock()
        """Held while a test runs or a failure is counted; several attempts may end at a time."""
        self.problem = ""
        """Why the worker takes no work; empty while it does."""

    def succeeded(self) -> None:
        """Note an attempt that came to its end."""
        self._in_a_row = self._outages = 0

    def judge(self, error: BaseException) -> tuple[Blame, float]:
        """Return whose fault a failed attempt is, and after how many seconds its chunk goes out again.

        What seems to be the worker's own is tested at once: where the worker is fit, it was the chunk's.
        """
        found = blame(error)
        if found == "services":
            self._outages += 1
            return found, self._pause(self._outages)
        with self._lock:
            self._in_a_row += 1
            self._health.note(error)
            if found == "worker" or self._in_a_row >= FAILURES:
                self.problem = self._health.problem()
                self._in_a_row = 0
            return ("worker" if self.problem else "chunk"), 0.0

    def rest(self) -> None:
        """Wait after an outage of Redis or S3, so that no attempt is wasted while it lasts."""
        if self._outages:
            self._stop.wait(self._pause(self._outages))

    def outage(self) -> None:
        """Note an outage that was met before a chunk was claimed."""
        self._outages += 1

    def recover(self) -> None:
        """Wait until the test passes, the process is to end, or the longest time is over."""
        if not self.problem:
            return
        logger.error("out of service: %s", self.problem)
        self._meter.out_of_service(True)
        until, tests = time.monotonic() + self._longest, 0
        while self.problem and time.monotonic() < until and not self._stop.wait(self._pause(tests)):
            tests += 1
            with self._lock:
                self.problem = self._health.problem()
        if not self.problem:
            logger.warning("in service again after %d tests", tests)
            self._meter.out_of_service(False)

    @staticmethod
    def _pause(times: int) -> float:
        longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0**times)
        return random.uniform(longest / 2, longest)  # noqa: S311 - jitter, not a secret
