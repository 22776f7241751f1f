"""The life of an attempt at a chunk, from its message to its commit.

claim -> fetch -> enhance -> upload attempt -> read back -> PUT done.json If-None-Match -> ledger. Everything
before the PUT may be lost or done twice; everything after it can be derived from the object that the PUT wrote. From a film's last frame in the network on, a
thread of its own may do the rest, beside the next chunk.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from importlib import metadata

from contract.documents import VERSION as DOCUMENTS
from contract.documents import encode
from contract.errors import (
    Cancelled,
    CannotServe,
    Interrupted,
    LeaseLost,
    Newer,
    RespoolError,
    TransientError,
    Unreachable,
)
from contract.job import Chunk, Done
from contract.settings import Settings
from stores import commits
from stores.ledger import Claim, Lease, Ledger
from stores.processor import usable_cores
from stores.storage import Storage
from workers.film.share import Share, share_of
from workers.runtime.attempt_record import peak_memory
from workers.runtime.enhancement import Enhancement
from workers.runtime.fitness import Fitness
from workers.runtime.health import Health
from workers.runtime.heartbeat import SHUTDOWN, Heartbeat, HeldLease
from workers.runtime.in_flight import Attempt, InFlight
from workers.runtime.job_cache import JobCache, JobFile
from workers.runtime.metrics import Meter, gpu_memory
from workers.stages import finished

logger = logging.getLogger(__name__)

VERSION = metadata.version("respool")

_DECLINES_S = 60.0
_CLAIMS = 5
"""Times that a claim is made while Redis does not answer: about as long as a lease."""

FINISHING = "finishing"
"""The outcome of a message whose chunk another thread finishes."""


class Worker:
    """The state of a pool process: connections, the loaded generator, and the attempts in flight."""

    def __init__(self, settings: Settings, beside: int = 0) -> None:
        """Let up to `beside` chunks of films finish in threads of their own, while the next one is computed."""
        self.settings = settings
        self.name = f"{os.uname().nodename}-{os.getpid()}"
        self.storage = Storage(settings)
        self.ledger = Ledger(settings)
        self.cache = JobCache(settings, self.storage)
        self.heartbeat = Heartbeat(self.ledger, self.name, settings.lease_renew_s, self._info)
        self.meter = Meter(self.cache.scratch)
        self._enhancement = Enhancement(self.storage, self.ledger, self.cache, self.meter)
        health = Health(lambda: self.cache.own, lambda: str(self.cache.held()["device"]))
        stop = self.heartbeat.interrupted
        self.fitness = Fitness(health, self.meter, stop, settings.chunk_soft_limit_s / 2)
        # With one try a chunk, one beside a chunk that ends the process would be lost.
        self.in_flight = InFlight(
            beside if settings.max_attempts > 1 else 0, settings.chunk_soft_limit_s, self._overdue
        )
        self._share = share_of(self.in_flight.beside, usable_cores(), settings.threads)
        self._alone = replace(share_of(0, usable_cores(), settings.threads), frames=self._share.frames)
        self.idle = self.in_flight.idle
        self._declined: dict[str, tuple[float, str]] = {}
        """Jobs that this worker cannot compute as they were begun, since when, and why."""
        self._newer: dict[str, tuple[float, str]] = {}
        """Jobs that this worker is too old to read, since when, and why."""
        self._soft_limit = settings.chunk_soft_limit_s
        self._started = time.time()
        self.exit: Callable[[int], object] = os._exit
        self._frames = 0
        self._fps = 0.0

    def start(self) -> None:
        """Start the heartbeat, and import in the background what every generator needs."""
        self.heartbeat.start()
        self.cache.preload()

    def end(self) -> None:
        """Stop the heartbeat and remove the worker from the list."""
        self.heartbeat.end()

    def hand_back(self) -> None:
        """Hand all chunks in flight back now, from any thread, because the process ends.

        An attempt past its soft time limit counts as failed, because Celery ends the process of one that ignores the limit.
        """
        self.heartbeat.interrupt()
        for attempt in self.in_flight.attempts():
            lease = attempt.held.lease
            overdue = time.monotonic() - attempt.taken >= self._soft_limit
            reason = f"it exceeded its time limit of {self._soft_limit:g} s and was ended"
            try:
                verdict = self.ledger.release(lease, reason if overdue else SHUTDOWN, counted=overdue)
            except Unreachable as error:  # its lease runs out
                logger.warning("not handed back: %s", error, extra=lease.about)
                continue
            logger.info("handed back (%s)", verdict, extra=lease.about)

    def _overdue(self, attempt: Attempt) -> None:
        """End the process, as Celery does with a task that ignores its limit: no thread can be stopped from outside."""
        logger.error("the end of an attempt took too long; the process ends", extra=attempt.held.lease.about)
        self.hand_back()
        self.exit(1)

    def work(self, job: str, chunk: int) -> str:
        """Work on a chunk if it still needs work; return the outcome, such as "done", "failed", "lost" or "handed back"."""
        self.fitness.recover()
        if self.fitness.problem:
            return "out of service"  # nothing is claimed; the chunk goes out again
        try:
            if not self.cache.knows(job):
                self.cache.job(job)
        except Newer as error:  # nothing is claimed, so nothing is counted
            self._newer[job] = time.monotonic(), str(error)
            logger.warning("%s", error, extra={"job": job, "chunk": chunk})
            return "newer"
        except TransientError as error:
            logger.warning("not claimed: %s", error, extra={"job": job, "chunk": chunk})
            self.fitness.outage()
            self.fitness.rest()
            return "unreadable"
        except RespoolError:
            pass  # the attempt meets the same error and counts it
        if self._declines(job):
            self.ledger.pass_on(job, chunk)
            return "declined"
        verdict, lease = self._claim(job, chunk)
        if lease is None:
            return verdict
        attempt = Attempt(self.heartbeat.hold(lease))
        self.in_flight.add(attempt)
        self.meter.begin()
        outcome = "crashed"
        try:
            # If the shutdown began before this point, `hand_back` may have found no lease. A chunk whose message was received
            # without any work would wait for `resend_s`; when handed back, it is published again at once.
            if self.heartbeat.interrupted.is_set():
                outcome = self._give_back(attempt, SHUTDOWN, counted=False)
            else:
                outcome = self._attempt(attempt)
            return outcome
        finally:
            if attempt.finisher is None:
                self._ended(attempt, outcome)
            self.fitness.rest()
            self.fitness.recover()

    def _ended(self, attempt: Attempt, outcome: str) -> None:
        self.meter.end(outcome)
        self.in_flight.remove(attempt)
        self.heartbeat.drop(attempt.held)

    def _claim(self, job: str, chunk: int) -> tuple[Claim, Lease | None]:
        """Claim a chunk. While Redis does not answer, ask again as the same: a claim whose answer was lost holds."""
        nonce = secrets.token_hex(4)
        for _ in range(_CLAIMS - 1):
            try:
                return self.ledger.claim(job, chunk, self.name, nonce)
            except Unreachable as error:
                logger.warning("not claimed yet: %s", error, extra={"job": job, "chunk": chunk})
                self.fitness.outage()
                self.fitness.rest()
        return self.ledger.claim(job, chunk, self.name, nonce)

    def _declines(self, job: str) -> bool:
        """Return True while chunks of `job` are left to other workers; once a minute this one tries again."""
        since, _ = self._declined.get(job, (float("-inf"), ""))
        if time.monotonic() - since < _DECLINES_S:
            return True
        self._declined.pop(job, None)
        return False

    def _attempt(self, attempt: Attempt) -> str:
        """Begin an attempt; return its outcome, or FINISHING when a thread of its own ends it."""
        return self._judged(attempt, lambda: self._begin(attempt))

    def _begin(self, attempt: Attempt) -> str:
        lease = attempt.held.lease
        file = self.cache.job(lease.job, lease.plan)
        attempt.chunk = chunk = file.chunk(lease.chunk)
        found = commits.own_winner(self.storage, lease.job, chunk)
        if found is not None:  # committed before Redis lost its data
            return self._settle(lease, found.frames)
        self.in_flight.make_way(attempt)
        began = time.monotonic()
        alone = self.in_flight.alone(attempt)
        stages = self._enhance(attempt.held, file, chunk, self._alone if alone else self._share)
        with ExitStack() as stack:
            stack.enter_context(closing(stages))
            if alone:
                return self._complete(attempt, chunk, began, finished(stages))
            try:
                next(stages)
            except StopIteration as ended:
                return self._complete(attempt, chunk, began, ended.value)
            self.in_flight.finish(attempt, partial(self._finish, attempt, chunk, began, stages))
            stack.pop_all()
            return FINISHING

    def _finish(self, attempt: Attempt, chunk: Chunk, began: float, stages: Generator[None, None, Done]) -> None:
        """End an attempt in the thread that finishes it."""
        outcome = "crashed"
        try:
            with closing(stages):
                outcome = self._judged(attempt, lambda: self._complete(attempt, chunk, began, finished(stages)))
        finally:
            self._ended(attempt, outcome)
            logger.info("%s", outcome, extra=attempt.held.lease.about)

    def _complete(self, attempt: Attempt, chunk: Chunk, began: float, done: Done) -> str:
        self._frames += done.frames
        self._fps = done.frames / max(time.monotonic() - began, 1e-3)
        outcome = self._commit(attempt, chunk, done)
        self.fitness.succeeded()
        return outcome

    def _judged(self, attempt: Attempt, work: Callable[[], str]) -> str:
        """Do a part of an attempt; hand the chunk back where it fails, and judge whose fault it is."""
        lease = attempt.held.lease
        try:
            return work()
        except (Interrupted, Cancelled, Newer) as error:
            return self._give_back(attempt, str(error), counted=False)
        except CannotServe as error:
            self._declined[lease.job] = time.monotonic(), str(error)
            logger.warning("left to other workers: %s", error, extra=lease.about)
            return self._give_back(attempt, str(error), counted=False, delay_s=1.0)
        except LeaseLost as error:
            self._clean(attempt)
            logger.warning("%s", error, extra=lease.about)
            return "lost"
        except Exception as error:
            if attempt.finisher not in (None, threading.current_thread()):
                logger.warning("%r came as the attempt was passed on", error, extra=lease.about)
                return FINISHING  # its own limit holds there
            self.meter.failure(error)
            fault, delay = self.fitness.judge(error)
            if fault == "services":
                logger.warning("attempt ended, not counted: %s", error, extra=lease.about)
                return self._give_back(attempt, str(error), counted=False, delay_s=delay)
            logger.exception("attempt failed (the fault of the %s)", fault, extra=lease.about)
            reason = f"{type(error).__name__}: {error}"
            if fault == "worker":
                reason = f"not counted, the worker is out of service: {reason}"
            return self._give_back(attempt, reason, counted=fault == "chunk")

    def _enhance(self, held: HeldLease, file: JobFile, chunk: Chunk, share: Share) -> Generator[None, None, Done]:
        return self._enhancement.make(held, file, chunk, share)

    def _commit(self, attempt: Attempt, chunk: Chunk, done: Done) -> str:
        lease = attempt.held.lease
        attempt.held.renew()
        attempt.committing = True
        stands = commits.commit(self.storage, lease.job, chunk, done)
        if stands.attempt == lease.attempt:
            return self._settle(lease, done.frames, encode(done))
        self._clean(attempt)
        self._settle(lease, stands.frames)
        return "lost"

    def _settle(self, lease: Lease, frames: int, commit: bytes = b"") -> str:
        self.ledger.settle(lease.job, lease.chunk, "done", frames, commit)
        return "done"

    def _give_back(self, attempt: Attempt, reason: str, counted: bool, delay_s: float = 0.0) -> str:
        """Hand the chunk back, unless the attempted commit took effect after all."""
        lease = attempt.held.lease
        try:
            if attempt.committing and self._stands(lease):
                return "done"
            self._clean(attempt)
            verdict = self.ledger.release(lease, reason, counted, delay_s)
            if verdict != "exhausted":
                return "handed back" if verdict == "again" else verdict
            frames = (attempt.chunk or self.cache.job(lease.job, lease.plan).chunk(lease.chunk)).count
            aside = commits.set_aside(self.storage, self.ledger, lease.job, lease.chunk, frames)
            return "done" if aside is None else "failed"
        except TransientError as error:  # no fault of the chunk: its lease must not run out as if this worker had died
            logger.warning("not handed back yet: %s", error, extra=lease.about)
            self.heartbeat.owe(lease, reason, counted, delay_s)
            return "cut off"

    def _stands(self, lease: Lease) -> bool:
        """Return True if done.json names this attempt, and tell the ledger again."""
        found = commits.winner(self.storage, lease.job, lease.chunk)
        if found is None or found.attempt != lease.attempt:
            return False
        self._settle(lease, found.frames)
        return True

    def _clean(self, attempt: Attempt) -> None:
        """Remove the objects of this attempt, unless its commit may stand; assembly sweeps what remains."""
        lease = attempt.held.lease
        try:
            commits.clean(self.storage, lease, attempt.committing)
        except Exception as error:
            logger.warning("objects of an uncommitted attempt remain: %s", error, extra=lease.about)

    def _info(self) -> dict[str, object]:
        attempts = self.in_flight.attempts()
        labels = [attempt.chunk.label if attempt.chunk else "" for attempt in attempts]
        return {
            "host": os.uname().nodename,
            "pid": os.getpid(),
            "started": self._started,
            "seen": time.time(),
            "job": attempts[-1].held.lease.job if attempts else "",
            "chunk": labels[-1] if labels else "",
            "finishing": labels[:-1],
            "in_hand": sum(a.held.in_hand for a in attempts if a.held.lease.job == attempts[-1].held.lease.job),
            "chunk_s": time.monotonic() - attempts[0].taken if attempts else 0.0,
            "frames": self._frames,
            "fps": round(self._fps, 3),
            "memory": peak_memory(),
            "gpu_memory": gpu_memory(),
            "version": VERSION,
            "problem": self.fitness.problem,
            "declines": _fresh(self._declined),
            "newer": _fresh(self._newer),
            "reads": DOCUMENTS,
            **self.cache.held(),
        }


def _fresh(refusals: dict[str, tuple[float, str]]) -> dict[str, str]:
    """Return the reasons of refusals that are not so old that the job is long done elsewhere."""
    now = time.monotonic()
    return {job: reason for job, (since, reason) in list(refusals.items()) if now - since < 3 * _DECLINES_S}
