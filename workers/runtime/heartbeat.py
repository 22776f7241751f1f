"""The heartbeat of a worker process: reports it alive, renews its lease, and learns of cancelled and paused jobs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from contract.errors import Cancelled, Interrupted, LeaseLost, RespoolError, Unreachable
from stores.ledger import Lease, Ledger, Renewal

logger = logging.getLogger(__name__)

SHUTDOWN = "the worker was shut down"
"""The reason of every attempt that is handed back because the worker shuts down."""


class Heartbeat:
    """The heartbeat thread of a worker process. Long work calls `checkpoint` between batches."""

    def __init__(self, ledger: Ledger, worker: str, interval_s: float, info: Callable[[], dict[str, object]]) -> None:
        self._ledger, self._worker, self._interval, self._info = ledger, worker, interval_s, info
        self._lease: Lease | None = None
        self._verdict: Renewal = "ok"
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = False
        self._owed: dict[Lease, tuple[str, bool, float]] = {}
        self.interrupted = threading.Event()
        self.in_hand = 0
        """Finished frames of the current chunk, reported with the heartbeat."""
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def alive(self) -> bool:
        """Return whether the thread runs, for health checks; an unreachable Redis does not make a worker unhealthy."""
        return self._thread.is_alive()

    def hold(self, lease: Lease | None) -> None:
        """Renew `lease`, just claimed, from the next heartbeat on; with None, renew no lease and report that at once.

        A heartbeat that came late would count the frames of an ended chunk twice, as done and as in hand.
        """
        with self._lock:
            self._lease, self._verdict, self.in_hand = lease, "ok", 0
        if lease is None:
            self._wake.set()

    def interrupt(self) -> None:
        """Announce the end of the process, so that the next checkpoint hands the chunk back."""
        self.interrupted.set()

    def end(self) -> None:
        """Stop the heartbeat and remove the worker from the list."""
        self._ended = True
        self._wake.set()
        self._thread.join(timeout=5)
        try:
            self._ledger.dismiss_worker(self._worker)
        except Unreachable as error:
            logger.warning("cannot remove the worker from the list: %s", error)

    def checkpoint(self, frames: int = 0) -> None:
        """Raise Interrupted, Cancelled or LeaseLost when the current work must stop; return at once otherwise.

        `frames` is the number of finished frames of the chunk.
        """
        self.in_hand = max(self.in_hand, frames)
        if self.interrupted.is_set():
            raise Interrupted(SHUTDOWN)
        verdict = self._verdict
        if verdict == "cancelled":
            raise Cancelled("The job was cancelled.")
        if verdict == "paused":
            raise Interrupted("The job was paused.")
        if verdict in ("lost", "done"):
            raise LeaseLost("Another attempt owns the chunk now; this one was dropped.")

    def renew(self) -> None:
        """Renew the lease now and raise as `checkpoint` does; this is the last check before a commit."""
        with self._lock:
            lease = self._lease
        if lease is not None:
            self._apply(lease, self._ledger.renew(lease))
        self.checkpoint()

    def owe(self, lease: Lease, reason: str, counted: bool, delay_s: float) -> None:
        """Release a lease (as `Ledger.release` does) as soon as Redis answers again."""
        with self._lock:
            self._owed[lease] = reason, counted, delay_s

    def pay(self) -> None:
        """Release what is owed; raise Unreachable while Redis is away."""
        with self._lock:
            owed = dict(self._owed)
        for lease, (reason, counted, delay_s) in owed.items():
            verdict = self._ledger.release(lease, reason, counted, delay_s)
            logger.info("handed back late (%s)", verdict, extra=lease.about)
            with self._lock:
                del self._owed[lease]

    def _apply(self, lease: Lease, verdict: Renewal) -> None:
        with self._lock:
            if self._lease is lease:
                # A ledger that lost the job is rebuilt from S3; the work continues meanwhile.
                self._verdict = "ok" if verdict == "unknown" else verdict

    def _beat(self) -> None:
        while not self._ended:
            try:
                self._ledger.announce_worker(self._worker, self._info())
                self.pay()
                with self._lock:
                    lease = self._lease
                if lease is not None:
                    self._apply(lease, self._ledger.renew(lease))
            except RespoolError as error:
                logger.warning("no heartbeat: %s", error)
            self._wake.wait(self._interval)
            self._wake.clear()
