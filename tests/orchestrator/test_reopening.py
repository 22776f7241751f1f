"""Every way of opening a job again: no commit is credited to other frames, and nothing waits for ever."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contract import keys
from contract.documents import encode
from contract.errors import UsageError
from media import x264
from orchestrator.jobs import retention
from testkit.clips import fingerprint, make_film
from testkit.stepped import SPEC, Stepped

_SEEDS = itertools.count(1)


@pytest.fixture
def films(tmp_path: Path) -> list[Path]:
    """Two films of one size and length, and pictures that no other test has: the job's id follows from them."""
    return [make_film(tmp_path / f"{name}.mp4", 10, seed=next(_SEEDS)) for name in ("a", "b")]


def delivered(cluster: Stepped, job: str, item: str, folder: Path) -> list[str]:
    """Hashes of a delivered film's pictures."""
    manifest = cluster.records.manifest(job)
    assert manifest is not None
    (key,) = [file.key for file in manifest.files if file.name == item]
    out = folder / "delivered.mkv"
    cluster.storage.get_file(key, out)
    return [digest for _, digest in fingerprint(out)]


def pictures(film: Path) -> list[str]:
    return [digest for _, digest in fingerprint(film)]


def test_a_refused_film_that_is_retried_gets_its_own_frames(
    cluster: Stepped, films: list[Path], tmp_path: Path
) -> None:
    """The first film refused at ingest, the limit raised, retried: each result holds its own source's pictures."""
    job = cluster.submit(films)
    cluster.acts.refusals = {0: "it needs more memory"}
    assert cluster.finish(job).state == "failed"
    cluster.acts.refusals = {}
    cluster.jobs.retry(job)
    assert cluster.finish(job).state == "done"
    for film in films:
        assert delivered(cluster, job, f"{film.stem}.mkv", tmp_path) == pictures(film)


def test_a_retry_right_after_the_failure_goes_on(cluster: Stepped, films: list[Path]) -> None:
    """The job is opened again before any orchestrator has closed it."""
    job = cluster.submit(films)
    cluster.acts.refusals = {0: "it needs more memory", 1: "it needs more memory"}
    while cluster.records.manifest(job) is None:
        cluster.look()
    cluster.acts.refusals = {}
    cluster.jobs.retry(job)
    assert cluster.finish(job).state == "done"


def test_the_same_submission_after_gc_brings_the_sources_again(cluster: Stepped, films: list[Path]) -> None:
    """Failed, collected, submitted and retried: what is missing is uploaded again, and the job ends."""
    job = cluster.submit(films)
    cluster.acts.refusals = {0: "it needs more memory"}
    cluster.finish(job)
    cluster.acts.refusals = {}
    for sweep in retention.find(cluster.storage, timedelta(0), False, datetime.now(UTC) + timedelta(days=1)):
        retention.remove(cluster.storage, sweep)
    with pytest.raises(UsageError, match="submit"):
        cluster.jobs.retry(job)
    assert cluster.submit(films) == job
    cluster.jobs.retry(job)
    assert cluster.finish(job).state == "done"


@pytest.mark.parametrize("act", ["ingest", "assemble"])
def test_a_job_submitted_anew_is_not_failed_by_what_its_collected_one_met(
    cluster: Stepped, films: list[Path], monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """Cancelled and collected while it is read or put together, and submitted again: the new job is done."""
    job = cluster.submit(films)
    order, collected = cluster.acts._order, []

    def meets_nothing(data: bytes, *rest: Any) -> dict[str, object]:
        if collected or json.loads(data)["act"] != act:
            return order(data, *rest)
        cluster.jobs.control(job, cancelled=True)
        for sweep in retention.find(cluster.storage, timedelta(0), False, datetime.now(UTC) + timedelta(days=1)):
            collected.append(sweep.job)
            retention.remove(cluster.storage, sweep)
        try:
            return order(data, *rest)
        finally:
            cluster.submit(films)
            later = replace(cluster.records.job(job), created="2030-01-01T00:00:00+00:00")
            cluster.storage.put(keys.job_spec(job), encode(later))

    monkeypatch.setattr(cluster.acts, "_order", meets_nothing)
    assert cluster.finish(job).state == "done"
    assert job in collected
    assert len(cluster.results(job)) == len(films)


@pytest.mark.parametrize("cancelled", [False, True], ids=["ended", "cancelled"])
def test_a_job_collected_before_it_was_closed_is_forgotten(
    cluster: Stepped, films: list[Path], cancelled: bool
) -> None:
    """Its ledger and the orchestrator's plan are of a job that is no more: nothing waits for it, and the same files make it anew."""
    job = cluster.submit(films)
    while not cluster.announced(job):
        cluster.look()
    if cancelled:
        cluster.jobs.control(job, cancelled=True)
    while not cancelled and cluster.records.manifest(job) is None:
        cluster.work(job)
        cluster.look()
    for sweep in retention.find(cluster.storage, timedelta(0), True, datetime.now(UTC) + timedelta(days=1)):
        retention.remove(cluster.storage, sweep)
    assert cluster.ledger.counts(job) is not None
    for _ in range(6):
        cluster.look()
    assert cluster.ledger.counts(job) is None
    assert job not in cluster.services[0]._open
    assert cluster.submit(films) == job
    assert cluster.finish(job).state == "done"


def test_a_ledger_of_a_collected_job_asks_nothing_of_its_successor(cluster: Stepped, films: list[Path]) -> None:
    """An orchestrator that never saw the job before finds a cancelled ledger and a new submission: the films are delivered."""
    job = cluster.submit(films)
    while not cluster.announced(job):
        cluster.look()
    cluster.jobs.control(job, cancelled=True)
    for sweep in retention.find(cluster.storage, timedelta(0), True, datetime.now(UTC) + timedelta(days=1)):
        retention.remove(cluster.storage, sweep)
    cluster.services[0].close()
    cluster.services[0] = cluster.orchestrator()
    assert cluster.submit(films) == job
    assert cluster.jobs.status(job).state == "ingesting"
    assert cluster.finish(job).state == "done"


def test_a_plan_of_a_collected_job_is_not_kept(cluster: Stepped, films: list[Path]) -> None:
    """Two orchestrators: one knows the plan of a job of which a film was refused; the other plans the same job, submitted anew, whole."""
    cluster.services.append(cluster.orchestrator())
    cluster.acts.refusals = {0: "refused by the test"}
    job = cluster.submit(films)
    while job not in cluster.services[1]._plans:
        cluster.look(0)
        cluster.look(1)
    cluster.jobs.control(job, cancelled=True)
    for sweep in retention.find(cluster.storage, timedelta(0), True, datetime.now(UTC) + timedelta(days=1)):
        retention.remove(cluster.storage, sweep)
    cluster.ledger.forget(job)
    cluster.acts.refusals = {}
    assert cluster.submit(films) == job
    while not cluster.announced(job):
        cluster.look(0)
    before = len(cluster.services[1]._plans[job].chunks)
    cluster.look(1)
    assert len(cluster.services[1]._plans[job].chunks) > before
    assert cluster.finish(job).state == "done"


def test_a_missing_source_is_a_failure_and_no_wait(cluster: Stepped, films: list[Path]) -> None:
    """A source that is gone before ingest fails its item with the advice; the other film is delivered."""
    job = cluster.submit(films)
    cluster.storage.delete(keys.source(job, 0))
    manifest = cluster.finish(job)
    assert (manifest.state, [failure.item for failure in manifest.failures]) == ("failed", [0])
    assert "submit" in manifest.failures[0].reason


def test_a_missing_committed_object_is_found_and_repaired(cluster: Stepped, films: list[Path], tmp_path: Path) -> None:
    """A job one of whose committed objects is gone ends with an integrity error, and a retry repairs it."""
    job = cluster.submit(films[:1])
    while True:
        cluster.look()
        if cluster.work(job):
            break
    while cluster.work(job):
        cluster.look()
    plan = cluster.records.plan(job)
    assert plan is not None
    (output,) = cluster.records.done(job, plan.chunks[0]).outputs
    cluster.storage.delete(output.key)
    manifest = cluster.finish(job)
    assert manifest.state == "failed"
    assert output.key in manifest.failures[0].reason
    assert cluster.jobs.retry(job) == 1
    assert cluster.finish(job).state == "done"
    assert delivered(cluster, job, "a.mkv", tmp_path) == pictures(films[0])


@pytest.mark.parametrize("lost", ["input", "index"])
def test_a_film_planned_again_by_another_version_has_one_encoding(
    cluster: Stepped, films: list[Path], monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """A chunk's input has the encoding in its header: where another version chooses another one, commits made before count no more."""
    job = cluster.submit(films[:1], replace(SPEC, codec="x264"))
    while len(cluster.announced(job)) < 2:
        cluster.look()
    before = cluster.records.plan(job)
    assert before is not None
    cluster.worker.work(job, 0)
    ((_, index),) = before.indexes
    gone = keys.index(job, 0, index) if lost == "index" else keys.run(job, 0, before.chunks[1].input)
    cluster.storage.delete(gone)
    assert cluster.finish(job).state == "failed"
    monkeypatch.setattr(x264, "LARGE", 0)
    monkeypatch.setattr(x264, "ENLARGED", 0)
    cluster.jobs.retry(job)
    manifest = cluster.finish(job)
    assert manifest.state == "done"
    after = cluster.records.plan(job)
    assert after is not None
    assert after.retired == (0, 1)
    film = cluster.storage.get(manifest.files[0].key)
    assert (b"deadzone=21,11" in film, b"deadzone=14,7" in film) == (False, True)
