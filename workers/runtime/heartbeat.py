"""The heartbeat of a worker process: says that it lives, keeps its lease, and hears what was asked of the job."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from contract.errors import Cancelled, Interrupted, LeaseLost, RespoolError, Unreachable
from stores.ledger import Lease, Ledger, Renewal

logger = logging.getLogger(__name__)

TOLD = "the worker was told to end"
"""Why an attempt ended that was handed back, whichever thread did it."""


class Pulse:
    """One thread per worker process. `checkpoint` is what long work calls between batches."""

    def __init__(self, ledger: Ledger, worker: str, interval_s: float, info: Callable[[], dict[str, object]]) -> None:
        self._ledger, self._worker, self._interval, self._info = ledger, worker, interval_s, info
        self._lease: Lease | None = None
        self._verdict: Renewal = "ok"
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = False
        self.interrupted = threading.Event()
        self.in_hand = 0
        """Frames of the chunk at hand that are finished, for whoever watches."""
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def alive(self) -> bool:
        """True while the heart beats; what a health check asks. Redis being away is no illness of ours."""
        return self._thread.is_alive()

    def hold(self, lease: Lease | None) -> None:
        """Keep `lease` from now on; None when there is none to keep."""
        with self._lock:
            self._lease, self._verdict, self.in_hand = lease, "ok", 0
        self._wake.set()

    def interrupt(self) -> None:
        """The process is to end: the next checkpoint hands the chunk back."""
        self.interrupted.set()

    def end(self) -> None:
        """Stop beating and take the worker off the list."""
        self._ended = True
        self._wake.set()
        self._thread.join(timeout=5)
        try:
            self._ledger.dismiss_worker(self._worker)
        except Unreachable as error:
            logger.warning("cannot sign off: %s", error)

    def checkpoint(self, frames: int = 0) -> None:
        """Raise when the work at hand is to stop: Interrupted, Cancelled, or LeaseLost; return at once otherwise.

        `frames` says how many frames of the chunk are finished by now.
        """
        self.in_hand = max(self.in_hand, frames)
        if self.interrupted.is_set():
            raise Interrupted(TOLD)
        verdict = self._verdict
        if verdict == "cancelled":
            raise Cancelled("The job was cancelled.")
        if verdict == "paused":
            raise Interrupted("The job was paused.")
        if verdict in ("lost", "done"):
            raise LeaseLost("Another attempt owns the chunk now; this one was dropped.")

    def renew(self) -> None:
        """Renew the lease now and raise as `checkpoint` does: the last look before a commit."""
        with self._lock:
            lease = self._lease
        if lease is not None:
            self._note(lease, self._ledger.renew(lease))
        self.checkpoint()

    def _note(self, lease: Lease, verdict: Renewal) -> None:
        with self._lock:
            if self._lease is lease:
                # A ledger that forgot the job is made again from S3; the work goes on meanwhile.
                self._verdict = "ok" if verdict == "unknown" else verdict

    def _beat(self) -> None:
        while not self._ended:
            try:
                self._ledger.announce_worker(self._worker, self._info())
                with self._lock:
                    lease = self._lease
                if lease is not None:
                    self._note(lease, self._ledger.renew(lease))
            except RespoolError as error:
                logger.warning("no heartbeat: %s", error)
            self._wake.wait(self._interval)
            self._wake.clear()
