"""Results of images, copied to their names while the job still runs, so that little is left to copy at its end.

Nothing here decides anything. Assembly lists what is there, and takes a copy for a result only where the store has the same bytes under both
names; it makes all others itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from contract import keys
from contract.errors import Cancelled, Interrupted, LeaseLost, PermanentError
from contract.job import Done, Job, Output, Plan
from contract.parallel import AHEAD, in_order
from orchestrator.job_store import Records
from stores.commit_log import copies, parts
from stores.ledger import Ledger

logger = logging.getLogger(__name__)

LEAST_IMAGES = 500
"""Images of the smallest job whose results are copied early."""

_REST_S = 10.0
"""Seconds between two rounds of one job."""

_AT_ONCE = 4
"""Copies at a time, fewer than in assembly: workers use the store meanwhile."""


class Round:
    """The early copies of one job, made in rounds that copy what is new."""

    def __init__(self, job: Job, plan: Plan, records: Records, ledger: Ledger) -> None:
        self._job, self._plan, self._records, self._ledger = job, plan, records, ledger
        self._parts: set[str] = set()
        self._copied: set[int] = set()
        self._ended: set[int] = set()
        """Chunks that were done a round ago: their copies are in the commit log by now, or nowhere."""
        self._standing: set[str] | None = None

    def run(self, checkpoint: Callable[[], None]) -> None:
        """Copy the results of chunks whose commits are new. `checkpoint` is called before each copy, by several threads."""
        storage, job = self._records.storage, self._job.id
        if self._records.control(job).retries:
            return  # its results may stand, or have rotted: assembly looks at each
        if self._standing is None:  # of an orchestrator before this one
            self._standing = {key for key, _ in storage.list(keys.results_prefix(job))}

        def copy(output: Output) -> None:
            key = keys.result_file(job, self._job.items[output.item].result)
            if key in (self._standing or ()):
                return
            checkpoint()
            try:
                storage.copy(output.key, key, output.size)
            except PermanentError as error:
                logger.warning("left to assembly: %s", error, extra={"job": job})

        for _ in in_order(copy, self._outputs(), _AT_ONCE, "early", AHEAD):
            pass
        self._standing = set()

    def _outputs(self) -> Iterator[Output]:
        for chunk, data in self._commits():
            if chunk in self._copied or chunk >= len(self._plan.chunks):
                continue
            self._copied.add(chunk)
            owned = self._plan.chunks[chunk]
            if owned.kind == "image" and owned.bands == 1:
                yield from self._checked(chunk, data)

    def _checked(self, chunk: int, data: bytes) -> Iterable[Output]:
        try:
            done: Done = self._records.checked(self._job.id, self._plan.chunks[chunk], data)
        except PermanentError as error:
            logger.warning("left to assembly: %s", error, extra={"job": self._job.id})
            return ()
        return done.outputs

    def _commits(self) -> Iterator[tuple[int, bytes]]:
        """Yield commits that are new: of the parts of the log that are, then those that were done a round ago and are in none."""
        storage, job = self._records.storage, self._job.id
        bits = self._ledger.done(job)
        new = [key for key in parts(storage, job) if key not in self._parts]
        for key in new:
            yield from copies(storage, job, key)
        self._parts.update(new)
        for n in sorted(self._ended - self._copied):
            try:
                yield n, self._records.done_text(job, n)
            except PermanentError as error:
                self._copied.add(n)
                logger.warning("left to assembly: %s", error, extra={"job": job})
        self._ended = {
            n for n in range(len(self._plan.chunks)) if n >> 3 < len(bits) and bits[n >> 3] & 0x80 >> (n & 7)
        }


class EarlyResults:
    """The rounds of all jobs, one at a time. `locked` returns a function that does an act under the lock of a job's assembly."""

    def __init__(
        self,
        records: Records,
        ledger: Ledger,
        locked: Callable[[str, Callable[[str, Callable[[], None]], None]], Callable[[], None]],
    ) -> None:
        self._records, self._ledger, self._locked = records, ledger, locked
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="early")
        self._rounds: dict[str, Round] = {}
        self._running: dict[str, Future[None]] = {}
        self._next: dict[str, float] = {}

    def start(self, job: Job, plan: Plan) -> None:
        """Start a round of a job with many images, where the last one has ended some seconds ago."""
        if len(job.items) < LEAST_IMAGES or time.monotonic() < self._next.get(job.id, 0.0):
            return
        if not self.rests(job.id):
            return
        self._next[job.id] = time.monotonic() + _REST_S
        known = self._rounds.setdefault(job.id, Round(job, plan, self._records, self._ledger))
        self._running[job.id] = self._pool.submit(self._locked(job.id, lambda _, checkpoint: known.run(checkpoint)))

    def rests(self, job: str) -> bool:
        """Return False while a round of `job` is at work; one that waits for others is taken back."""
        running = self._running.get(job)
        if running is not None and not running.done() and not running.cancel():
            return False
        if running is not None and not running.cancelled() and (error := running.exception()) is not None:
            if not isinstance(error, (Cancelled, Interrupted, LeaseLost)):  # these are no fault of the copies
                logger.warning("results are left to assembly: %s", error, extra={"job": job})
            self._rounds.pop(job, None)
        self._running.pop(job, None)
        return True

    def forget(self, job: str) -> None:
        """Forget a job that has ended."""
        for known in (self._rounds, self._next, self._running):
            known.pop(job, None)

    def close(self) -> None:
        """Wait for the round at hand, which its checkpoint ends; drop those that wait."""
        self._pool.shutdown(wait=True, cancel_futures=True)
