"""The heartbeat of a worker process: reports it alive, renews its leases, and learns of cancelled and paused jobs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from contract.errors import Cancelled, Interrupted, LeaseLost, RespoolError, Unreachable
from stores.ledger import Lease, Ledger, Renewal

logger = logging.getLogger(__name__)

SHUTDOWN = "the worker was shut down"
"""The reason of every attempt that is handed back because the worker shuts down."""


class HeldLease:
    """A lease that the heartbeat renews. Long work on its chunk calls `checkpoint` between batches."""

    def __init__(self, lease: Lease, ledger: Ledger, interrupted: threading.Event) -> None:
        self.lease = lease
        self._ledger, self._interrupted = ledger, interrupted
        self._verdict: Renewal = "ok"
        self.in_hand = 0
        """Finished frames of the chunk, reported with the heartbeat."""

    def checkpoint(self, frames: int = 0) -> None:
        """Raise Interrupted, Cancelled or LeaseLost when the work must stop; return at once otherwise.

        `frames` is the number of finished frames of the chunk.
        """
        self.in_hand = max(self.in_hand, frames)
        if self._interrupted.is_set():
            raise Interrupted(SHUTDOWN)
        verdict = self._verdict
        if verdict == "cancelled":
            raise Cancelled("The job was cancelled.")
        if verdict == "paused":
            raise Interrupted("The job was paused.")
        if verdict in ("lost", "done"):
            raise LeaseLost("Another attempt owns the chunk now; this one was dropped.")

    def extend(self) -> None:
        """Renew the lease, and note what is asked of its job."""
        verdict = self._ledger.renew(self.lease)
        # A ledger that lost the job is rebuilt from S3; the work continues meanwhile.
        self._verdict = "ok" if verdict == "unknown" else verdict

    def renew(self) -> None:
        """Renew the lease now and raise as `checkpoint` does; this is the last check before a commit."""
        self.extend()
        self.checkpoint()


class Heartbeat:
    """The heartbeat thread of a worker process."""

    def __init__(self, ledger: Ledger, worker: str, interval_s: float, info: Callable[[], dict[str, object]]) -> None:
        self._ledger, self._worker, self._interval, self._info = ledger, worker, interval_s, info
        self._held: list[HeldLease] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = False
        self._owed: dict[Lease, tuple[str, bool, float]] = {}
        self.interrupted = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def alive(self) -> bool:
        """Return whether the thread runs, for health checks; an unreachable Redis does not make a worker unhealthy."""
        return self._thread.is_alive()

    def hold(self, lease: Lease) -> HeldLease:
        """Renew `lease`, just claimed, from the next heartbeat on, until `drop`."""
        held = HeldLease(lease, self._ledger, self.interrupted)
        with self._lock:
            self._held.append(held)
        return held

    def drop(self, held: HeldLease) -> None:
        """Renew a lease no longer, and report that at once.

        A heartbeat that came late would count the frames of an ended chunk twice, as done and as in hand.
        """
        with self._lock:
            self._held.remove(held)
        self._wake.set()

    def interrupt(self) -> None:
        """Announce the end of the process, so that the next checkpoint of each chunk hands it back."""
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

    def _beat(self) -> None:
        while not self._ended:
            try:
                self._ledger.announce_worker(self._worker, self._info())
                self.pay()
                with self._lock:
                    renewed = list(self._held)
                for held in renewed:
                    held.extend()
            except RespoolError as error:
                logger.warning("no heartbeat: %s", error)
            self._wake.wait(self._interval)
            self._wake.clear()
