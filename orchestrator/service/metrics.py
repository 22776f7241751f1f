"""Metrics of the cluster for Prometheus and the autoscaler, read from the ledger at each scrape.

Every orchestrator shows the whole cluster: with several of them, take max() over them, never sum().
Labels are bounded: causes are a fixed set, and at most 100 open jobs are shown one by one.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from contract.errors import RespoolError
from contract.settings import Settings
from orchestrator.jobs.status import rate
from stores.ledger import Counts, Ledger

_JOBS_SHOWN = 100
_NOTHING = Counts(0, 0, 0, 0, 0, 0, 0, 0, 0, False, False)


class ClusterCollector(Collector):
    """Collector that reads the ledger at each scrape. A Redis that does not answer is shown as ``respool_redis_up 0``."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings, self._ledger = settings, ledger
        self._seen: dict[str, Counts] | None = None
        self._retries = {"lease_expired": 0, "attempt_failed": 0, "handed_back": 0}

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        disk = shutil.disk_usage(scratch(self._settings))
        yield _gauge("respool_scratch_free_bytes", "Free bytes where results are assembled.", disk.free)
        yield _gauge("respool_scratch_size_bytes", "Size of the disk where results are assembled.", disk.total)
        try:
            counts = {job: found for job, _ in self._ledger.jobs() if (found := self._ledger.counts(job)) is not None}
            workers = self._ledger.workers()
            ingesting = len(self._ledger.submitted() - counts.keys())
            rates = {job: rate(*self._ledger.recent(job)) for job in sorted(counts)[:_JOBS_SHOWN]}
        except RespoolError:
            yield _gauge("respool_redis_up", "1 when Redis answers.", 0)
            return
        yield _gauge("respool_redis_up", "1 when Redis answers.", 1)
        yield _gauge("respool_workers", "Workers whose heartbeat is fresh.", len(workers))
        broken = sum(bool(info.get("problem")) for info in workers.values())
        yield _gauge("respool_workers_out_of_service", "Workers that take no work until their own test passes.", broken)
        yield from self._depth(counts)
        yield from _jobs(counts, rates, ingesting)
        yield self._ended_attempts(counts)

    def _depth(self, counts: dict[str, Counts]) -> Iterator[Metric]:
        limit = self._settings.submitter_chunks
        leased, queued = Counter[str](), Counter[str]()
        for c in counts.values():
            leased[c.submitter] += c.running
            if not (c.paused or c.cancelled):
                queued[c.submitter] += c.total - c.done - c.failed - c.running
        # Workers beyond a submitter's quota would find nothing to do.
        wanted = leased + queued
        backlog = sum(min(count, limit) if limit else count for count in wanted.values())
        yield _gauge("respool_leases", "Chunks that a worker holds now.", leased.total())
        yield _gauge(
            "respool_queued_chunks", "Chunks of running jobs that are neither done nor leased.", queued.total()
        )
        yield _gauge(
            "respool_backlog_chunks",
            "Queued plus leased chunks, up to their submitters' quotas: what the number of workers follows.",
            backlog,
        )

    def _ended_attempts(self, counts: dict[str, Counts]) -> Metric:
        """Count the attempts that ended without a result, by cause, since this process started."""
        seen, self._seen = self._seen, counts
        for job, now in counts.items():
            before = (
                now if seen is None else seen.get(job, _NOTHING)
            )  # attempts before this process started are not counted
            if now.retried < before.retried or now.handed_back < before.handed_back:
                before = _NOTHING  # its ledger was rebuilt and counts from zero
            expired, retried = now.lapsed - before.lapsed, now.retried - before.retried
            self._retries["lease_expired"] += expired
            self._retries["attempt_failed"] += retried - expired
            # A failed attempt is handed back too; only the rest came from workers that were told to stop.
            self._retries["handed_back"] += now.handed_back - before.handed_back - (retried - expired)
        family = CounterMetricFamily(
            "respool_retries", "Attempts that ended without a result, by cause.", labels=["cause"]
        )
        for cause, count in self._retries.items():
            family.add_metric([cause], count)
        return family


def registry(settings: Settings, ledger: Ledger, *more: Collector) -> CollectorRegistry:
    """Build the registry of an orchestrator's metrics: the cluster's, the process' own, and those of `more`."""
    made = CollectorRegistry()
    for collector in (ClusterCollector(settings, ledger), *more):
        made.register(collector)
    ProcessCollector(registry=made)
    return made


def scratch(settings: Settings) -> Path:
    """Return the folder whose disk a process fills while it works."""
    return settings.scratch if settings.scratch.is_dir() and settings.scratch != Path() else Path(tempfile.gettempdir())


def _jobs(counts: dict[str, Counts], rates: dict[str, float | None], ingesting: int) -> Iterator[Metric]:
    states = {"ingesting": ingesting, "running": 0, "paused": 0, "cancelled": 0, "assembling": 0}
    for found in counts.values():
        states[_state(found)] += 1
    jobs = GaugeMetricFamily("respool_jobs", "Jobs that have not ended, by state.", labels=["state"])
    for state, count in states.items():
        jobs.add_metric([state], count)
    yield jobs
    # Prometheus gives every series a label `job` of its own, so ours is called job_id.
    frames = GaugeMetricFamily("respool_job_frames", "Frames that a job owes.", labels=["job_id"])
    done = GaugeMetricFamily("respool_job_frames_done", "Frames of a job that are done.", labels=["job_id"])
    running = GaugeMetricFamily("respool_job_running", "1 while a job has chunks to do.", labels=["job_id"])
    failed = GaugeMetricFamily("respool_job_failed_chunks", "Chunks of a job set aside.", labels=["job_id"])
    eta = GaugeMetricFamily("respool_job_eta_seconds", "Seconds that a job still takes, if known.", labels=["job_id"])
    for job, fps in rates.items():
        found = counts[job]
        frames.add_metric([job], found.frames)
        done.add_metric([job], found.frames_done)
        running.add_metric([job], int(_state(found) == "running"))
        failed.add_metric([job], found.failed)
        if fps:
            eta.add_metric([job], (found.frames - found.frames_done) / fps)
    yield from (frames, done, running, failed, eta)
    hidden = max(0, len(counts) - _JOBS_SHOWN)
    yield _gauge("respool_jobs_not_shown", "Open jobs beyond those shown one by one.", hidden)


def _state(counts: Counts) -> str:
    if counts.cancelled:
        return "cancelled"
    if counts.settled:
        return "assembling"
    return "paused" if counts.paused else "running"


def _gauge(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, text)
    family.add_metric([], value)
    return family
