"""Metrics that an orchestrator gives Prometheus and the autoscaler, from a real ledger."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from contract.job import Chunk, Control, Plan
from contract.settings import Settings
from orchestrator.service.metrics import ClusterCollector
from stores.ledger import Ledger

JOB = "00000000000000a1"


def plan(job: str, chunks: int) -> Plan:
    return Plan(job, tuple(Chunk(n, "video", 0, n * 10, 10, f"chunk {n}") for n in range(chunks)))


def scrape(settings: Settings, ledger: Ledger) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(ClusterCollector(settings, ledger))
    return registry


@pytest.fixture
def ledger(settings: Settings) -> Ledger:
    made = Ledger(settings)
    for job, _ in made.jobs():
        made.forget(job)
    return made


def test_the_backlog_is_queued_plus_leased_chunks(settings: Settings, ledger: Ledger) -> None:
    """The autoscaler sees work that runs as well as work that waits, announced or not; done work is gone from it."""
    ledger.create(plan(JOB, 10), 4, Control(), {0: 10}, [])
    ledger.dispatch(JOB, 3)
    assert ledger.claim(JOB, 1, "w")[0] == "claimed"
    value = scrape(settings, ledger).get_sample_value
    assert value("respool_leases") == 1
    assert value("respool_queued_chunks") == 8
    assert value("respool_backlog_chunks") == 9
    assert value("respool_job_frames_done", {"job_id": JOB}) == 10
    assert value("respool_jobs", {"state": "running"}) == 1


def test_a_paused_job_asks_for_no_workers(settings: Settings, ledger: Ledger) -> None:
    """A cluster whose only job is paused may shrink to nothing."""
    ledger.create(plan(JOB, 10), 4, Control(paused=True), {}, [])
    value = scrape(settings, ledger).get_sample_value
    assert value("respool_backlog_chunks") == 0
    assert value("respool_jobs", {"state": "paused"}) == 1


def test_retries_are_counted_by_cause(settings: Settings, ledger: Ledger) -> None:
    """A lease that ran out, a failed attempt and a chunk handed back are three causes; each is counted once."""
    ledger.create(plan(JOB, 10), 4, Control(), {}, [])
    short = Ledger(replace(settings, lease_ttl_s=0.001, lease_renew_s=0.0001))
    registry = scrape(settings, ledger)
    value = registry.get_sample_value
    assert value("respool_retries_total", {"cause": "attempt_failed"}) == 0
    short.claim(JOB, 0, "dead")
    lapsed: list[int] = []
    while not lapsed:
        lapsed = ledger.reconcile(JOB, 60.0)[1]
    _, failing = ledger.claim(JOB, 1, "w")
    _, leaving = ledger.claim(JOB, 2, "w")
    assert failing is not None
    assert leaving is not None
    ledger.release(failing, "out of memory", counted=True)
    ledger.release(leaving, "told to end", counted=False)
    for _ in range(2):  # a second look adds nothing
        families = {f.name: f for f in registry.collect()}
        seen = {s.labels["cause"]: s.value for s in families["respool_retries"].samples}
        assert seen == {"lease_expired": 1, "attempt_failed": 1, "handed_back": 1}


def test_the_number_of_series_is_bounded(settings: Settings, ledger: Ledger) -> None:
    """With hundreds of open jobs a hundred are shown one by one, the rest in sum, and the metrics say so."""
    for n in range(105):
        ledger.create(plan(f"{n:016x}", 2), 4, Control(), {}, [])
    registry = scrape(settings, ledger)
    shown = next(f for f in registry.collect() if f.name == "respool_job_frames").samples
    assert len(shown) == 100
    assert registry.get_sample_value("respool_jobs_not_shown") == 5
    assert registry.get_sample_value("respool_backlog_chunks") == 210


def test_an_absent_redis_is_a_number_and_no_failure(settings: Settings) -> None:
    """While Redis is away the page says so, and still shows the disk."""
    gone = replace(settings, redis_url="redis://127.0.0.1:1/0")
    value = scrape(gone, Ledger(gone)).get_sample_value
    assert value("respool_redis_up") == 0
    assert (value("respool_scratch_free_bytes") or 0) > 0
