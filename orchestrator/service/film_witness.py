"""The witness of decoding as a background step: films of a job are decoded once more while workers enhance them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

logger = logging.getLogger(__name__)


class FilmWitness:
    """At most one decode at a time. `locked` returns a function that reads the films of a job under its lock."""

    def __init__(self, locked: Callable[[str], Callable[[], None]]) -> None:
        self._locked = locked
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="witness")
        self._running: dict[str, Future[None]] = {}

    def start(self, job: str) -> None:
        """Start reading the films of `job`, once."""
        if job not in self._running:
            self._running[job] = self._pool.submit(self._locked(job))

    def rests(self, job: str) -> bool:
        """Return False while the films of `job` are read. After a failure, or behind others, assembly reads them."""
        running = self._running.get(job)
        if running is None:
            return True
        if not running.done():
            if not running.cancel():
                return False
            del self._running[job]  # it has not begun, behind the films of other jobs: assembly reads them itself
            return True
        error = self._running.pop(job).exception()
        if error is not None:
            logger.warning("the witness is started again: %s", error, extra={"job": job})
        return True

    def forget(self, job: str) -> None:
        """Forget a job that has ended."""
        self._running.pop(job, None)

    def close(self) -> None:
        """Wait for the decode at hand, which its checkpoint ends; drop those that wait."""
        self._pool.shutdown(wait=True, cancel_futures=True)
