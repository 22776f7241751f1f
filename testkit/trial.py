"""One trial of a job's life with a fault at one call: processes that die are replaced, commands that fail are given again.

A trial steps through submission, orchestrators, workers and commands one at a time, in this process. Time passes only where the trial
says so: locks and leases run out, messages count as lost. At the end it judges what the user has.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, cast
from unittest.mock import patch

from redis import Redis

from contract import keys
from contract.documents import VERSION, Version
from contract.errors import RespoolError, UsageError
from contract.job import Done, Job, Manifest, Spec
from contract.settings import Settings
from orchestrator.sandbox.process import MediaProcess
from orchestrator.service import loop
from orchestrator.service.loop import Service
from orchestrator.submission.submit import Draft, Hooks, submit
from testkit.call_faults import Calls, ProcessKilled
from testkit.stepped import SPEC, Stepped
from workers.runtime.worker import Worker

ROUNDS = 60
"""Rounds in which a job must come to rest; each is a look of every orchestrator and the work that waits."""

_TRIES = 4
"""Times that a user gives a command."""


class Stuck(AssertionError):
    """Raised when a job does not come to rest, or a command never succeeds."""


class Messages:
    """The queue of chunks, in place of Celery's; it outlives orchestrators."""

    def __init__(self, calls: Calls) -> None:
        self.waiting_ones: deque[tuple[str, int]] = deque()
        self._calls = calls

    def publish(self, job: str, chunk: int, label: str, _: Version = VERSION) -> None:
        """Add a message."""
        self._calls.through("queue", f"publish {label}", True, lambda: self.waiting_ones.append((job, chunk)))

    def waiting(self, _: int | None = None) -> int:
        """Count the messages."""
        return self._calls.through("queue", "waiting", False, lambda: len(self.waiting_ones))

    def close(self) -> None:
        """End with an orchestrator; messages wait on."""


class Trial:
    """A cluster of `orchestrators` and as many workers, on an empty store and Redis, and one job's life in it."""

    def __init__(self, settings: Settings, calls: Calls, orchestrators: int) -> None:
        self.settings, self.calls = settings, calls
        self.messages = Messages(calls)
        self.job = ""
        self.poison: set[int] = set()
        """Chunks that no worker can enhance."""
        self.from_here = False
        """True once calls are counted."""
        self.remarks: list[str] = []
        with patch.object(loop, "Publisher", lambda _: self.messages):
            self._cluster = Stepped(settings, orchestrators)
        self.acts, self.records, self.storage = self._cluster.acts, self._cluster.records, self._cluster.storage
        self.services, self.ledger = self._cluster.services, self._cluster.ledger
        self.workers = [self._worker() for _ in range(orchestrators)]
        self._redis: Redis = Redis.from_url(settings.redis_url, decode_responses=True)
        self._standing: threading.Thread | None = None
        self._order = self.acts._order
        self.acts._order = self._read  # type: ignore[method-assign]
        self._turn = 0

    # Processes

    def _worker(self) -> Worker:
        worker = Worker(self.settings)
        worker.fitness.rest = lambda: None  # type: ignore[method-assign]  # no clock runs here
        enhance = worker._enhance

        def maybe(held: Any, file: Any, chunk: Any, share: Any) -> Generator[None, None, Done]:
            if chunk.n in self.poison:
                raise ValueError("poison")
            return enhance(held, file, chunk, share)

        worker._enhance = maybe  # type: ignore[method-assign]
        return worker

    def _read(
        self,
        order: bytes,
        lend: Callable[[MediaProcess], None],
        checkpoint: Callable[[], None],
        begin: Callable[[int], None] = lambda _: None,
    ) -> dict[str, object]:
        """Execute an order of the process that reads media; where that one alone was killed, say so as its parent does."""
        from orchestrator.sandbox.parent import Killed

        begun: list[int] = []

        def note(item: int) -> None:
            begun.append(item)
            with self.calls.outside_reader():
                begin(item)

        try:
            with self.calls.reader():
                return self._order(order, lend, checkpoint, note)
        except ProcessKilled:
            if self.calls.dead:
                raise
            raise Killed("killed by the trial", begun[-1] if begun else None) from None

    def _do(
        self, step: Callable[[], object], replace: Callable[[], None], allowed: type[Exception]
    ) -> Exception | None:
        """Let a process do a step; return the error of `allowed` kinds that ended it. One that is killed is replaced."""
        ended: list[BaseException | None] = []

        def run() -> None:
            try:
                step()
                ended.append(None)
            except BaseException as error:  # judged below
                ended.append(error)

        if not self.from_here or self.calls.fired:
            run()
        else:
            thread = threading.Thread(target=run)
            with self.calls.counting():
                thread.start()
                while thread.is_alive() and not self.calls.stands.is_set():
                    thread.join(0.002)
            if thread.is_alive():
                self._standing = thread
                replace()
                return ProcessDelayed()
        error = ended[0]
        if isinstance(error, ProcessKilled):
            replace()
            return ProcessGone()
        if error is None or isinstance(error, allowed):
            return error
        raise error

    def look(self, n: int) -> None:
        """One look of orchestrator `n`, to the end of the acts that it began."""

        def step() -> None:
            service = self.services[n]
            try:
                service.tick()
            finally:
                loop_ends(service)
            if self.calls.dead:
                raise ProcessKilled

        def replace() -> None:
            with patch.object(loop, "Publisher", lambda _: self.messages):
                self.services[n] = self._cluster.orchestrator()

        self._do(step, replace, RespoolError)

    def work(self) -> bool:
        """Let workers do in turn what is announced; False when nothing was."""
        busy = bool(self.messages.waiting_ones)
        for _ in range(len(self.messages.waiting_ones)):
            job, chunk = self.messages.waiting_ones.popleft()
            self._turn = n = (self._turn + 1) % len(self.workers)

            self._do(
                lambda n=n, job=job, chunk=chunk: self.workers[n].work(job, chunk),  # type: ignore[misc]
                lambda n=n: self._replace_worker(n),  # type: ignore[misc]
                RespoolError,
            )
        return busy

    def _replace_worker(self, n: int) -> None:
        self.workers[n] = self._worker()

    def beat(self) -> None:
        """Let living workers hand back what they owe, as each heartbeat does."""
        for n, worker in enumerate(self.workers):
            if worker.heartbeat._owed:
                self._do(worker.heartbeat.pay, lambda n=n: self._replace_worker(n), RespoolError)  # type: ignore[misc]

    def pass_time(self) -> None:
        """Let locks, leases and patience run out, as a minute does."""
        locks = list(self._redis.scan_iter(match="respool:lock:*", count=1000))
        if locks:
            self._redis.delete(*locks)
        for name in self._redis.scan_iter(match="respool:{*}:*", count=1000):
            part = str(name).rpartition(":")[2]
            if part in ("leases", "sent", "later"):
                for member in cast(list[str], self._redis.zrange(name, 0, -1)):
                    self._redis.zadd(name, {member: 0})
        for service in self.services:
            service._left.clear()
            service._looked = float("-inf")
            service._views._read.clear()

    # A user

    def submit(self, draft: Draft, spec: Spec = SPEC) -> None:
        """Submit until it succeeds."""

        def know(job: Job) -> None:
            self.job = job.id

        self.command(lambda: submit(draft, spec, self.settings, hooks=Hooks(approve=know)))

    def command(self, give: Callable[[], object]) -> None:
        """Give a command; while it fails, wait for the cluster to come to rest and give it again, as a user would."""
        for tried in range(_TRIES):
            if tried:
                self.rest()
            error = self._do(give, lambda: None, RespoolError)
            if error is None or (isinstance(error, UsageError) and (tried or self._done_by_now())):
                return
            if isinstance(error, UsageError):
                raise error
        raise Stuck(f"a command was given {_TRIES} times in vain: {error}")

    def _done_by_now(self) -> bool:
        """Return True when the job is done although a command before was disturbed: what was to follow it has no object."""
        manifest = self.manifest()
        return self.calls.fired and manifest is not None and manifest.state == "done"

    def once(self, give: Callable[[], object], allowed: type[Exception]) -> None:
        """Give a command once; errors of `allowed` kinds are the user's to see."""
        self._do(give, lambda: None, allowed)

    def forget(self) -> None:
        """Empty Redis and the queue."""
        self._redis.flushdb()
        self.messages.waiting_ones.clear()

    # The whole

    def ended(self) -> bool:
        """Return True when the job ended and its ledger is closed."""
        if not self.job or not self.storage.exists(keys.job_spec(self.job)):
            return not self.services[0]._open
        control = self.records.control(self.job)
        over = self.records.manifest(self.job, control) is not None or control.cancelled
        return over and self.ledger.counts(self.job) is None

    def round(self) -> None:
        """Let every orchestrator and worker do what there is to do; time passes where that is nothing."""
        for n in range(len(self.services)):
            self.look(n)
        busy = self.work()
        self.beat()
        if not busy:
            self.pass_time()

    def rest(self) -> None:
        """Step until the job has ended or is paused; a process that stood still goes on then, and all of it again."""
        self._rest()
        if self._standing is not None:
            self.calls.goes_on.set()
            self._standing.join(60)
            if self._standing.is_alive():
                raise Stuck("a process that stood still does not end")
            self._standing = None
            self.calls.stands.clear()
            self._rest()

    def _rest(self) -> None:
        for _ in range(ROUNDS):
            if self.ended():
                break
            if self.job and self.records.control(self.job).paused and self._idle():
                break
            self.round()
        else:
            raise Stuck(f"job {self.job} does not come to rest: {self._cluster.jobs.status(self.job)}")
        for n in range(len(self.services)):
            self.look(n)

    def _idle(self) -> bool:
        counts = self.ledger.counts(self.job)
        return not self.messages.waiting_ones and (counts is None or not counts.running)

    def manifest(self) -> Manifest | None:
        """Return what ended the job."""
        return self.records.manifest(self.job)

    def close(self) -> None:
        """Let go of everything."""
        self._cluster.close()
        self._redis.close()


class ProcessGone(Exception):
    """A process was killed."""


class ProcessDelayed(Exception):
    """A process stands still."""


def loop_ends(service: Service) -> None:
    """Wait for all that a look began."""
    from concurrent.futures import wait

    wait([*service._acts.values(), *service._film_witness._running.values()])
