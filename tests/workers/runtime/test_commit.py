"""A commit with an unknown outcome: its stored objects stay, and the job finishes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from contract import keys
from contract.errors import LeaseLost, StorageError, Unreachable
from contract.settings import Settings
from testkit.clips import make_film
from testkit.stepped import Stepped, stepped

_SEEDS = itertools.count(100)


@pytest.fixture
def cluster(settings: Settings) -> Iterator[Stepped]:
    with stepped(settings) as made:
        yield made


@pytest.fixture
def job(cluster: Stepped, tmp_path: Path) -> str:
    """A job of two chunks, both published."""
    return cluster.published(make_film(tmp_path / "film.mp4", 10, seed=next(_SEEDS)), 2)


def once(call: Callable[..., Any], when: Callable[..., bool], error: BaseException, after: bool) -> Callable[..., Any]:
    """Let `call` fail once, before or after it takes effect."""
    left = [error]

    def failing(*args: Any, **kwargs: Any) -> Any:
        if not left or not when(*args, **kwargs):
            return call(*args, **kwargs)
        if after:
            call(*args, **kwargs)
        raise left.pop()

    return failing


def is_commit(key: str, *_: Any, **__: Any) -> bool:
    return key.endswith("/done.json")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "error", [Unreachable("Redis is away."), StorageError("S3 answered 503."), SoftTimeLimitExceeded()], ids=str
)
@pytest.mark.parametrize("place", ["put", "settle"])
def test_what_a_commit_may_name_stays(
    cluster: Stepped, job: str, place: str, error: BaseException, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the PUT of done.json or the ledger's update fails, before or after it takes effect, all committed objects exist."""
    worker = cluster.worker
    if place == "put":
        monkeypatch.setattr(worker.storage, "put", once(worker.storage.put, is_commit, error, after))
    else:
        monkeypatch.setattr(worker.ledger, "settle", once(worker.ledger.settle, lambda *_: True, error, after))
    worker.work(job, 0)
    plan = cluster.records.plan(job)
    assert plan is not None
    if cluster.storage.exists(keys.done(job, 0)):
        for output in cluster.records.done(job, plan.chunks[0]).outputs:
            cluster.storage.verify(output.key, output.sha256)
    cluster.ledger.reconcile(job, -1)  # the announcements are lost, and leases that ran out end
    assert cluster.finish(job).state == "done"
    named = {output.key for commit in cluster.records.dones(plan, range(2)) for output in commit.outputs}
    stored = {key for key, _ in cluster.storage.list(keys.job_prefix(job) + "chunks/") if "/attempt-" in key}
    assert stored == named


def test_a_sweep_that_comes_late_removes_nothing_that_a_commit_names(
    cluster: Stepped, job: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the job is retried and committed between an orchestrator's manifest and its end, the commit's objects stay."""
    from orchestrator.assemble.job import Assembly

    chunk = cluster.announced(job)[0]
    for _ in range(settings.max_attempts):
        lease = cluster.ledger.claim(job, chunk, "somebody")[1]
        assert lease is not None
        cluster.ledger.release(lease, "it failed", counted=True)
    from stores.commits import set_aside, sweep

    set_aside(cluster.storage, cluster.ledger, job, chunk, 5)
    plan = cluster.records.plan(job)
    assert plan is not None
    late = Assembly(cluster.records.job(job), plan, cluster.records, 1, settings.scratch)
    assert cluster.finish(job).state == "failed"
    with pytest.raises(LeaseLost):  # it slept through the other's end
        late.run(lambda: None)
    cluster.jobs.retry(job)
    while chunk not in cluster.announced(job):
        cluster.look()
    cluster.work(job)
    attempts = cluster.records.chunk_objects(job).attempts
    assert attempts[chunk]
    sweep(cluster.storage, job, attempts, lambda: None)  # of all that it saw, the late one knows no winner
    for output in cluster.records.done(job, plan.chunks[chunk]).outputs:
        cluster.storage.verify(output.key, output.sha256)
    assert cluster.finish(job).state == "done"


def test_a_commit_that_the_store_refuses_costs_no_try(
    cluster: Stepped, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both the commit and the look for it fail: the lease is handed back, at once or with a later heartbeat, and not counted."""
    worker = cluster.worker
    away = [StorageError("S3 answered 503.")] * 3

    def find(key: str, *args: Any) -> bytes | None:
        if away and key.endswith("/done.json") and any(a.committing for a in worker.in_flight.attempts()):
            raise away.pop()
        return found(key, *args)

    found = worker.storage.find
    monkeypatch.setattr(worker.storage, "find", find)
    monkeypatch.setattr(worker.storage, "put", once(worker.storage.put, is_commit, StorageError("503"), False))
    monkeypatch.setattr(
        worker.ledger, "release", once(worker.ledger.release, lambda *_: True, Unreachable("away"), False)
    )
    monkeypatch.setattr(worker.fitness, "rest", lambda: None)
    assert worker.work(job, 0) == "cut off"
    while worker.heartbeat._owed:
        try:
            worker.heartbeat.pay()
        except Unreachable:
            continue
    assert cluster.ledger.claim(job, 0, "another")[0] == "claimed"
    assert cluster.ledger.tries(job, 0) == 0
