"""Dispatch of chunks: a few messages ahead of the workers, shared fairly among submitters and their jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from contract.job import Job, Plan
from contract.settings import Settings
from orchestrator.service.fair_share import Claimant, ahead, share
from orchestrator.service.publisher import Publisher
from stores.ledger import Counts, Ledger


class Dispatcher:
    """Publisher of chunks that are next. At most one at a time in a cluster is to `dispatch`, under a lock."""

    def __init__(self, settings: Settings, ledger: Ledger, publisher: Publisher) -> None:
        self._window, self._limit = settings.window, settings.submitter_chunks
        self._ledger, self._publisher = ledger, publisher

    def dispatch(self, ready: Collection[str], jobs: Mapping[str, Job], plans: Mapping[str, Plan]) -> None:
        """Publish chunks of the jobs that are `ready`; the other open ones of `jobs` count against their submitters' shares."""
        counts = {job: found for job in jobs if (found := self._ledger.counts(job)) is not None}
        workers = sum(not info.get("problem") for info in self._ledger.workers().values())
        claimants = {
            job: Claimant(job, jobs[job].priority, 0, found.in_flight, found.submitter) for job, found in counts.items()
        }
        for version in sorted({plans[job].version for job in ready}):
            own = {job: counts[job] for job in ready if plans[job].version == version and job in counts}
            for job, count in self._shares(own, claimants, workers).items():
                chosen = self._ledger.dispatch(job, count, self._limit)
                for chunk in chosen:
                    self._publisher.publish(job, chunk, plans[job].chunks[chunk].label, version)
                claimants[job] = replace(claimants[job], outstanding=claimants[job].outstanding + len(chosen))

    def _shares(self, own: Mapping[str, Counts], claimants: Mapping[str, Claimant], workers: int) -> dict[str, int]:
        """Share one window among jobs of one version: chunks that wait for newer workers must not keep old ones idle."""
        announced = sum(found.waiting for found in own.values())
        running = sum(found.running for found in own.values())
        pace = sum(self._ledger.pace(job) for job in own)
        places = ahead(workers, running, pace, self._window) - announced
        asking = [replace(c, open=own[job].open) if job in own else c for job, c in claimants.items()]
        return share(asking, max(0, places), self._limit)
