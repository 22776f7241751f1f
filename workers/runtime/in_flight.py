"""The chunks that a worker process has in flight: the one that it computes, and those that it finishes beside it.

A chunk of a film is finished (its encoder emptied, its result stored and committed) in a thread of its own, while the
network has the next one. Each has its own lease, and its own end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from contract.job import Chunk
from workers.runtime.heartbeat import HeldLease

_POLL_S = 0.1
"""Seconds between looks whether an attempt that waits for others must stop."""


@dataclass(eq=False)
class Attempt:
    """An attempt in flight. `taken` is when its chunk was claimed, on the monotonic clock."""

    held: HeldLease
    chunk: Chunk | None = None
    """None until the plan was read."""
    committing: bool = False
    """True from the moment that the attempt tries to commit: from then on a commit may name its objects."""
    taken: float = field(default_factory=time.monotonic)
    finisher: threading.Thread | None = None
    """The thread that ends the attempt, once it was passed on."""

    @property
    def first(self) -> bool:
        """True if no attempt at the chunk was made before, as far as the ledger knows."""
        return self.held.lease.attempt.startswith("1-")


class InFlight:
    """The attempts in flight in one process. The task's thread adds them one at a time; any thread may end one."""

    def __init__(self, beside: int, limit_s: float, overdue: Callable[[Attempt], None]) -> None:
        """Let up to `beside` attempts finish beside the one that is computed.

        `overdue` is called, in another thread, with one that has not ended `limit_s` after it was taken.
        """
        self.beside = beside
        self._limit, self._overdue = limit_s, overdue
        self._attempts: list[Attempt] = []
        self._finishing: list[Attempt] = []
        self._changed = threading.Condition()
        self.idle = threading.Event()
        """Set while no chunk is in flight."""
        self.idle.set()

    def attempts(self) -> list[Attempt]:
        """Return the attempts, oldest first."""
        with self._changed:
            return list(self._attempts)

    def add(self, attempt: Attempt) -> None:
        """Note an attempt that begins."""
        with self._changed:
            self._attempts.append(attempt)
            self.idle.clear()

    def remove(self, attempt: Attempt) -> None:
        """Note the end of an attempt."""
        with self._changed:
            self._attempts.remove(attempt)
            if not self._attempts:
                self.idle.set()

    def alone(self, attempt: Attempt) -> bool:
        """Return True if `attempt` is to share the process with no other: its chunk was tried before, or is none of a film.

        The chunk may be one that ends processes, and a chunk in flight beside it would lose a try each time.
        """
        chunk = attempt.chunk
        return self.beside == 0 or not attempt.first or chunk is None or chunk.kind != "video"

    def make_way(self, attempt: Attempt) -> None:
        """Before `attempt` computes: wait for all that finish, unless it may work beside them, as a chunk of the same job may.

        Another job may need another network; two do not fit into every device. Raises as `HeldLease.checkpoint` does.
        """
        with self._changed:
            others = {other.held.lease.job for other in self._finishing}
        if self.alone(attempt) or others - {attempt.held.lease.job}:
            self._wait(attempt, 0)

    def finish(self, attempt: Attempt, work: Callable[[], None]) -> None:
        """Do `work`, the end of `attempt`, in a thread of its own once there is a place; raises as `HeldLease.checkpoint` does.

        Returns when the thread has begun.
        """
        self._wait(attempt, self.beside - 1)
        timer = threading.Timer(attempt.taken + self._limit - time.monotonic(), self._overdue, (attempt,))
        timer.daemon = True

        def run() -> None:
            try:
                work()
            finally:
                timer.cancel()
                with self._changed:
                    self._finishing.remove(attempt)
                    self._changed.notify_all()

        timer.start()
        with self._changed:
            self._finishing.append(attempt)
            attempt.finisher = threading.Thread(target=run, name="finish", daemon=True)
            attempt.finisher.start()

    def _wait(self, attempt: Attempt, most: int) -> None:
        """Wait until at most `most` attempts are finishing."""
        with self._changed:
            while len(self._finishing) > most:
                attempt.held.checkpoint()
                self._changed.wait(_POLL_S)
