"""Quotas of chunks in flight, with real orchestrators, Redis and S3."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contract.settings import Settings
from orchestrator.service.metrics import ClusterCollector
from orchestrator.submission.submit import submit
from testkit.clips import make_film
from testkit.stepped import SPEC, Stepped, stepped

_SEEDS = itertools.count(4200)


@pytest.fixture
def cluster(settings: Settings) -> Iterator[Stepped]:
    """Two orchestrators that allow two chunks a submitter, before eight idle workers."""
    with stepped(replace(settings, submitter_chunks=2), orchestrators=2) as made:
        for n in range(8):
            made.ledger.announce_worker(f"idle-{n}", {"job": "", "in_hand": 0})
        yield made


def submitted(cluster: Stepped, folder: Path, who: str, frames: int = 15) -> str:
    """Submit a film of `frames` frames, five a chunk, for `who`."""
    film = make_film(folder / f"{who}-{next(_SEEDS)}.mkv", frames, seed=next(_SEEDS))
    return submit([film], SPEC, replace(cluster.settings, submitter=who)).job.id


def test_a_submitter_is_held_at_its_quota_and_others_go_on(cluster: Stepped, tmp_path: Path) -> None:
    """Of two jobs of one submitter two chunks are in flight, whichever orchestrator dispatches; the status gives the reason for the wait."""
    first, second = (submitted(cluster, tmp_path, "ana") for _ in range(2))
    other = submitted(cluster, tmp_path, "ben", 10)
    for _ in range(4):
        for n in range(2):
            cluster.look(n)
            assert cluster.ledger.in_flight()["ana"] <= 2
    assert cluster.ledger.in_flight() == {"ana": 2, "ben": 2}
    assert len(cluster.announced(first)) + len(cluster.announced(second)) == len(cluster.announced(other)) == 2
    status = cluster.jobs.status(first)
    assert (status.submitter, status.held) == ("ana", "at ana's quota of 2 chunks")
    assert cluster.jobs.status(other).held == "", "all of its chunks are in flight"
    cluster.jobs.control(second, paused=True)
    assert cluster.jobs.status(second).held == "", "its user holds it"
    cluster.jobs.control(second, paused=False)
    while cluster.ledger.jobs():
        for n in range(2):
            cluster.look(n)
            assert max(cluster.ledger.in_flight().values(), default=0) <= 2
        for job in (first, second, other):
            cluster.work(job)
    assert {cluster.jobs.status(job).state for job in (first, second, other)} == {"done"}
    assert cluster.ledger.in_flight().total() == 0


def test_the_count_follows_from_the_ledger(cluster: Stepped, tmp_path: Path) -> None:
    """A chunk handed back, one committed and a ledger that was lost leave nothing behind: the quota is full again each time."""
    job = submitted(cluster, tmp_path, "chi", 30)
    while not cluster.announced(job):
        cluster.look()
    verdict, lease = cluster.ledger.claim(job, cluster.announced(job)[0], "w")
    assert lease is not None, verdict
    cluster.look()
    assert cluster.ledger.in_flight()["chi"] == 2, "one leased, one published"
    cluster.ledger.release(lease, "told to end", counted=False)
    assert cluster.ledger.in_flight()["chi"] == 1
    cluster.look()
    assert cluster.ledger.in_flight()["chi"] == 2
    assert set(cluster.work(job)) == {"done"}
    assert cluster.ledger.in_flight()["chi"] == 0
    cluster.look()
    cluster.ledger.forget(job)
    assert cluster.ledger.in_flight()["chi"] == 0
    cluster.look()
    cluster.look()
    assert cluster.ledger.in_flight()["chi"] == 2
    families = {f.name: f.samples for f in ClusterCollector(cluster.settings, cluster.ledger).collect()}
    assert families["respool_backlog_chunks"][0].value == 2, "no workers are asked for that the quota would leave idle"
    assert families["respool_queued_chunks"][0].value == 4
    assert cluster.finish(job).state == "done"
