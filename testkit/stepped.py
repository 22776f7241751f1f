"""A cluster stepped by hand: orchestrators' looks and a worker's chunks, in this process and in a chosen order.

Redis and S3 are real; only Celery and the processes of their own are left out, so that a test decides what happens
between two requests.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from unittest.mock import patch

import msgspec
from redis import Redis

from contract.errors import TransientError
from contract.job import Manifest, Spec
from contract.settings import Settings
from orchestrator.assemble.job import Assembly
from orchestrator.ingest.job import ingest
from orchestrator.job_store import Records
from orchestrator.jobs.client import Jobs
from orchestrator.sandbox.child import Order
from orchestrator.sandbox.parent import Confined
from orchestrator.sandbox.process import MediaProcess
from orchestrator.service import loop
from orchestrator.service.loop import Service
from orchestrator.submission.submit import submit
from orchestrator.witness.source_reading import read_sources
from stores.item_kills import ItemKills
from stores.ledger import Ledger
from stores.storage import Storage
from workers.runtime.worker import Worker

SPEC = Spec(model="identity", codec="ffv1", chunk_frames=5, container="mkv")
_PATIENCE_S = 60.0


class InThisProcess(Confined):
    """Ingest and assembly in this process instead of one of their own; `refusals` name items that ingest is to refuse, with reasons."""

    def __init__(self, settings: Settings, records: Records) -> None:
        super().__init__(settings, ahead=False, kills=ItemKills(settings))
        self._records = records
        self.refusals: dict[int, str] = {}

    def _order(
        self,
        order: bytes,
        lend: Callable[[MediaProcess], None],
        checkpoint: Callable[[], None],
        begin: Callable[[int], None] = lambda _: None,
    ) -> dict[str, object]:
        """Execute an order as orchestrator/sandbox/child.py does, without its limits and with the store itself."""
        del lend
        wanted, records = msgspec.json.decode(order, type=Order), self._records
        job = records.job(wanted.job)
        if wanted.act == "ingest":
            ingest(job, records.storage, wanted.scale, checkpoint, {**wanted.refused, **self.refusals}, begin)
            return {}
        plan = records.planned(job.id, records.control(job.id))
        if wanted.act == "witness":
            if plan is not None:
                read_sources(job, plan, records.storage, checkpoint, wanted.refused, begin)
            return {}
        if plan is not None and records.manifest(job.id) is None:
            Assembly(job, plan, records, wanted.scale, self._settings.scratch).run(checkpoint)
        return {}


class Stepped:
    """`orchestrators` services and one worker over the servers that `settings` name."""

    def __init__(self, settings: Settings, orchestrators: int = 1) -> None:
        self.settings = settings
        self.storage, self.ledger = Storage(settings), Ledger(settings)
        self.records = Records(self.storage)
        self.acts = InThisProcess(settings, self.records)
        self.services = [self.orchestrator() for _ in range(orchestrators)]
        self.worker = Worker(settings)
        self._redis: Redis = Redis.from_url(settings.redis_url, decode_responses=True)

    def orchestrator(self) -> Service:
        """Make an orchestrator that reads media in this process."""
        with patch.object(loop, "Confined", lambda *_, **__: self.acts):
            return Service(self.settings)

    @property
    def jobs(self) -> Jobs:
        """Commands of a user."""
        return Jobs(self.settings)

    def submit(self, sources: Sequence[Path], spec: Spec = SPEC) -> str:
        """Submit `sources`; return the job's id."""
        return submit(list(sources), spec, self.settings).job.id

    def published(self, film: Path, chunks: int) -> str:
        """Submit a film of `chunks` chunks, and look until the messages of all wait; return the job's id."""
        job = self.submit([film])
        while len(self.announced(job)) < chunks:
            self.look()
        return job

    def look(self, n: int = 0) -> None:
        """One look of orchestrator `n`, and the end of the acts that it began."""
        service = self.services[n]
        service.tick()
        wait([*service._acts.values(), *service._film_witness._running.values()])

    def announced(self, job: str) -> list[int]:
        """Chunks whose messages wait."""
        return [int(cast(str, chunk)) for chunk in self._redis.zrange(f"respool:{{{job}}}:sent", 0, -1)]

    def work(self, job: str) -> list[str]:
        """Let the worker do all that is announced; what became of each."""
        return [self.worker.work(job, chunk) for chunk in self.announced(job)]

    def finish(self, job: str, workers: Sequence[Worker] = ()) -> Manifest:
        """Step until the job ends and its ledger is closed, its chunks done by `workers` in turn; AssertionError when it does not.

        Looks are not counted: a chunk that was handed back waits for a time, in which an idle machine looks hundreds of times.
        """
        patience, turns = time.monotonic() + _PATIENCE_S, itertools.cycle(workers or [self.worker])
        while time.monotonic() < patience:
            for n in range(len(self.services)):
                try:
                    self.look(n)
                except TransientError:
                    continue
            for chunk in self.announced(job):
                next(turns).work(job, chunk)
            if not self.worker.idle.wait(_PATIENCE_S):
                raise AssertionError("a chunk that the worker finishes beside others has no end")
            manifest = self.records.manifest(job)
            if manifest is not None and self.ledger.counts(job) is None:
                return manifest
        raise AssertionError(f"job {job} has not ended after {_PATIENCE_S:g} s: {self.jobs.status(job)}")

    def close(self) -> None:
        """Let go of everything, and take the workers that a test announced off the list, as no heartbeat of theirs goes on."""
        for service in self.services:
            service.close()
        for name in self.ledger.workers():
            self.ledger.dismiss_worker(name)
        self._redis.close()

    def results(self, job: str) -> dict[str, str]:
        """SHA-256 of what the job delivers, by name."""
        manifest = self.records.manifest(job)
        assert manifest is not None
        return {file.name: hashlib.sha256(self.storage.get(file.key)).hexdigest() for file in manifest.files}


@contextmanager
def stepped(settings: Settings, orchestrators: int = 1) -> Iterator[Stepped]:
    """Make a stepped cluster and take it apart at the end."""
    cluster = Stepped(settings, orchestrators)
    try:
        yield cluster
    finally:
        cluster.close()
