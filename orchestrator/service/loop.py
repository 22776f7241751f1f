"""The orchestrator's loop: look at every open job, ask the state machine for its next step, do it.

Any number of orchestrators may run; each step is locked or idempotent, so that any of them may die anywhere.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from contract import keys
from contract.errors import (
    Cancelled,
    Interrupted,
    LeaseLost,
    Newer,
    PermanentError,
    RespoolError,
    TransientError,
    Unreachable,
    Unsettled,
)
from contract.job import Job
from contract.settings import Settings
from orchestrator.job_state import Step, step
from orchestrator.job_store import Records
from orchestrator.sandbox.parent import Confined
from orchestrator.service import rebuild
from orchestrator.service.dispatch import Dispatcher
from orchestrator.service.early_results import EarlyResults
from orchestrator.service.fair_share import MOST_ACTS, may_begin, turn
from orchestrator.service.film_witness import FilmWitness
from orchestrator.service.job_views import LOOK_AGAIN_S, JobViews
from orchestrator.service.metrics import registry
from orchestrator.service.publisher import Publisher
from orchestrator.service.webhook import Webhook
from orchestrator.witness.source_reading import unread
from stores import commit_log, commits
from stores.item_kills import ItemKills
from stores.ledger import Ledger
from stores.metrics_server import Heartbeat, served
from stores.open_jobs import Limits
from stores.storage import Storage

logger = logging.getLogger(__name__)

Act = Callable[[str, Callable[[], None]], None]
"""A long step of a job; it calls its checkpoint, which raises to stop it."""

_LOST_MESSAGE_S = 3.0
"""Seconds. With an empty queue, a chunk published longer ago and not leased was lost with the worker that popped it."""
_ENDED_AT_ONCE = 20
"""Ended jobs that S3 is asked about at each look: one request each."""
_LONGEST_WAIT_S = 60.0
"""Longest rest, in seconds, of a job whose ingest or assembly fails for a transient reason."""
_HICCUP_S = 2.0
"""Seconds for which a job is skipped after a read of one of its objects failed."""
_STUCK_S = 300.0
"""Seconds. A longer round makes the health check fail; the Redis and S3 clients retry for minutes."""


class Service:
    """One orchestrator process. `serve` calls `tick` repeatedly."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._storage = Storage(settings)
        self._ledger = Ledger(settings)
        self._records = Records(self._storage)
        self._publisher = Publisher(settings)
        self._dispatcher = Dispatcher(settings, self._ledger, self._publisher)
        self.webhook = Webhook(settings, self._storage, self._ledger)
        self._confined = Confined(settings, kills=ItemKills(settings))
        self._pool = ThreadPoolExecutor(MOST_ACTS, thread_name_prefix="act")
        self._acts: dict[str, Future[None]] = {}
        self._film_witness = FilmWitness(lambda job: self._locked(job, "witness", self._witness))
        self._early = EarlyResults(self._records, self._ledger, lambda job, act: self._locked(job, "assemble", act))
        self._views = JobViews(self._records, self._ledger)
        self._plans = self._views.plans
        self._jobs: dict[str, Job] = {}
        self._open: set[str] = set()
        self._ended: dict[str, None] = {}
        self._left: dict[str, tuple[float, str]] = {}
        self._failures: dict[str, int] = {}
        self._looked = 0.0
        self._stop = threading.Event()

    def connect(self) -> None:
        """Raise Unreachable when Redis or S3 cannot be used."""
        self._ledger.ping()
        self._storage.ensure_bucket()

    def close(self) -> None:
        """End background work; the next orchestrator repeats what was unfinished."""
        self._stop.set()
        self._confined.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._film_witness.close()
        self._early.close()
        self.webhook.close()
        self._publisher.close()

    def tick(self) -> None:
        """Look at every open job once."""
        self._find_jobs()
        ready = [job for job in sorted(self._open, key=self._turn) if self._look(job)]
        if ready:
            with self._ledger.lock("dispatch", 5.0) as keep:
                if keep is not None:
                    self._dispatcher.dispatch(ready, self._jobs, self._plans)

    def _turn(self, job: str) -> tuple[int, int, int, int, str]:
        """Return the key by which jobs are looked at; unknown ones come before all."""
        known = self._jobs.get(job)
        if known is None:
            return turn(10, 0, 0, job)
        busy = [other for other, act in self._acts.items() if not act.done() and other in self._jobs]
        own = sum(self._jobs[other].submitter == known.submitter for other in busy)
        return turn(known.priority, own, _size(known), job)

    def _urgency(self, job: str) -> tuple[int, int, str]:
        """Return what `may_begin` compares long steps by."""
        known = self._jobs.get(job)
        return (-10, 0, job) if known is None else (-known.priority, _size(known), job)

    def _find_jobs(self) -> None:
        """Find open jobs: those with a ledger, those just submitted, and, with a new Redis, all that S3 holds."""
        forgot = not self._ledger.remembers()
        if forgot or time.monotonic() - self._looked > LOOK_AGAIN_S:
            self._looked = time.monotonic()
            self._ledger.set_limits(Limits(self._settings.submitter_chunks, self._settings.submitter_bytes))
            self._open |= set(self._records.jobs()) - self._ended.keys()
            self._open_again()
        announced = self._ledger.submitted() | {job for job, _ in self._ledger.jobs()}
        self._open |= announced
        for job in announced:
            self._ended.pop(job, None)

    def _open_again(self) -> None:
        """Check some ended jobs in turn: a command that reopened one may have died before it wrote to Redis."""
        for job in list(self._ended)[:_ENDED_AT_ONCE]:
            del self._ended[job]
            control = self._records.control(job)
            if control.cancelled or self._records.manifest(job, control) is not None:
                self._ended[job] = None  # behind the others
            else:
                self._open.add(job)

    def _look(self, job: str) -> bool:
        """Advance a job. One that cannot be read, or that a newer version wrote, is skipped for a while and delays no other."""
        if time.monotonic() < self._left.get(job, (0.0, ""))[0]:
            return False
        try:
            going = self._advance(job)
        except Unreachable:
            raise  # no job can be read without them
        except RespoolError as error:
            wait = _HICCUP_S if isinstance(error, TransientError) and not isinstance(error, Newer) else LOOK_AGAIN_S
            self._leave(job, wait, str(error))
            return False
        except Exception as error:
            logger.exception("job left alone", extra={"job": job})
            self._leave(job, LOOK_AGAIN_S, f"{type(error).__name__}: {error}")
            return False
        self._left.pop(job, None)
        return going

    def _leave(self, job: str, seconds: float, why: str) -> None:
        """Skip a job for `seconds`; log the reason once."""
        if why != self._left.get(job, (0.0, ""))[1]:
            logger.warning("%s", why, extra={"job": job})
        self._left[job] = (time.monotonic() + seconds, why)
        self._views.forget(job)  # another orchestrator that took over may have made one

    def _advance(self, job: str) -> bool:
        """Do a job's next step; return True when its chunks may be published."""
        if job in self._acts:
            if not self._acts[job].done():
                return False
            if not self._finish_act(job):
                return False
        if job not in self._jobs:
            if not self._storage.exists(keys.job_spec(job)):
                self._open.discard(job)  # not submitted to its end: the same command completes it
                return False
            self._jobs[job] = self._records.job(job)
        todo = step(self._views.look(job))
        if todo is Step.CLOSE:
            self._close_job(job)
        elif todo is Step.INGEST:
            self._act(job, "ingest", self._ingest)
        elif todo is Step.CREATE_LEDGER:
            self._create_ledger(job)
        elif todo is Step.ASSEMBLE:
            if self._film_witness.rests(job) and self._early.rests(job):
                self._act(job, "assemble", self._assemble)
        else:
            self._reconcile(job)
            if job in self._plans and todo is Step.RUN:
                self._early.start(self._jobs[job], self._plans[job])
                if self._plans[job].indexes:
                    self._film_witness.start(job)
            return todo is Step.RUN
        return False

    # Long steps, in the background, under a lock that ends with the process

    def _act(self, job: str, name: str, act: Act) -> None:
        """Begin a long step, unless others have all places: then a later look does."""
        running = [self._urgency(other) for other, began in self._acts.items() if not began.done()]
        if may_begin(self._urgency(job), running):
            self._acts[job] = self._pool.submit(self._locked(job, name, act))

    def _locked(self, job: str, name: str, act: Act) -> Callable[[], None]:
        """Return a function that does `act` under the lock of `name`, with a checkpoint that keeps the lock."""
        lease = self._settings.lease_ttl_s

        def run() -> None:
            with self._ledger.lock(f"{name}:{job}", lease) as keep:
                if keep is None:
                    return
                renewed = time.monotonic()

                def checkpoint() -> None:
                    nonlocal renewed
                    if self._stop.is_set():
                        raise Interrupted("The orchestrator was told to end.")
                    if time.monotonic() - renewed > lease / 4:
                        if not keep():
                            raise LeaseLost(f"Another orchestrator took over: {name} of job {job}.")
                        if self._records.control(job).cancelled:
                            raise Cancelled("The job was cancelled.")
                        renewed = time.monotonic()

                act(job, checkpoint)

        return run

    def _finish_act(self, job: str) -> bool:
        """Take in what an act in the background came to; False when the job is left alone for a while."""
        try:
            self._acts.pop(job).result()
        except Newer:
            raise
        except (LeaseLost, Cancelled) as error:
            logger.warning("%s", error, extra={"job": job})
        except TransientError as error:
            self._failures[job] = failures = self._failures.get(job, 0) + 1
            wait = min(_LONGEST_WAIT_S, 2.0**failures) * random.uniform(0.5, 1)  # noqa: S311 - jitter, not a secret
            self._leave(job, wait, str(error))
            return False
        except PermanentError as error:
            self._give_up(job, str(error))
        except Exception as error:
            logger.exception("job given up", extra={"job": job})
            self._give_up(job, f"{type(error).__name__}: {error}")
        self._failures.pop(job, None)
        return True

    def _give_up(self, job: str, reason: str) -> None:
        """Close a job that cannot be planned or assembled; forget one that was collected, and perhaps submitted anew, meanwhile."""
        if not self._records.fail(self._jobs[job], reason):
            logger.warning("%s; the job was removed meanwhile", reason, extra={"job": job})
            self._forget(job)

    def _ingest(self, job: str, checkpoint: Callable[[], None]) -> None:
        self._confined.run("ingest", job, checkpoint)

    def _assemble(self, job: str, checkpoint: Callable[[], None]) -> None:
        plan = self._records.plan(job)
        if plan is None or self._records.manifest(job) is not None:
            return
        self._witness(job, checkpoint)  # done before, unless the orchestrator that did died
        commit_log.save(self._storage, self._ledger, job, least=1)
        try:
            self._confined.run("assemble", job, checkpoint)
        except Unsettled as error:
            logger.warning("%s", error, extra={"job": job})
            self._ledger.forget(job)

    def _witness(self, job: str, checkpoint: Callable[[], None]) -> None:
        plan = self._records.plan(job)
        if plan is not None and unread(self._jobs[job], plan, self._storage):
            self._confined.run("witness", job, checkpoint)

    # Short steps

    def _create_ledger(self, job: str) -> None:
        rebuild.create_ledger(self._records, self._ledger, self._plans[job], self._jobs[job])

    def _close_job(self, job: str) -> None:
        announcements = self._ledger.announcements(job)
        if step(self._views.look(job)) is not Step.CLOSE or not self._ledger.close(job, announcements):
            return  # it was opened again in this moment
        self._ended[job] = None
        self._open.discard(job)
        self._forget(job)
        self.webhook.ended(job)

    def _forget(self, job: str) -> None:
        self._views.forget(job)
        self._jobs.pop(job, None)
        self._film_witness.forget(job)
        self._early.forget(job)

    def _reconcile(self, job: str) -> None:
        if job not in self._plans:
            return  # paused before it was planned
        commit_log.save(self._storage, self._ledger, job)
        queued = self._publisher.waiting(self._plans[job].version)
        patience = self._settings.resend_s if queued else _LOST_MESSAGE_S
        exhausted, again = self._ledger.reconcile(job, patience)
        for chunk in again:
            logger.warning("chunk goes out again", extra={"job": job, "chunk": chunk})
        for chunk in exhausted:
            failed = commits.set_aside(self._storage, self._ledger, job, chunk, self._plans[job].chunks[chunk].count)
            if failed is not None:
                logger.error("chunk set aside: %s", failed.attempts[-1:], extra={"job": job, "chunk": chunk})


def _size(job: Job) -> int:
    return sum(item.size for item in job.items)


def serve(settings: Settings, stop: threading.Event) -> None:
    """Run an orchestrator until `stop` is set; raise Unreachable when Redis or S3 cannot be used at the start."""
    service = Service(settings)
    service.connect()
    away = ""
    heart = Heartbeat(_STUCK_S)
    with served(settings, registry(settings, Ledger(settings), service.webhook), heart.alive):
        try:
            while not stop.is_set():
                heart.beat()
                try:
                    service.tick()
                    away = ""
                except RespoolError as error:
                    if str(error) != away:
                        logger.warning("%s", error)
                        away = str(error)
                stop.wait(settings.poll_s)
        finally:
            service.close()
