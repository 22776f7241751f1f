"""Results of images are copied while their job runs; its end copies the rest, and whatever is not as its commit says."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path
from unittest.mock import patch

import pytest

from contract import keys
from contract.documents import encode
from contract.errors import Cancelled, Interrupted, LeaseLost, Unreachable
from contract.job import Control, Spec
from contract.settings import Settings
from orchestrator.ingest import job as ingest
from orchestrator.service import early_results
from orchestrator.service.early_results import EarlyResults, Round
from stores import commit_copies, commit_log
from testkit.committed_job import COUNT, CommittedJob
from testkit.images import write_noise
from testkit.stepped import Stepped, stepped


@pytest.fixture
def every_job() -> Iterator[None]:
    """Copy the commits and results of small jobs, too, and without rests."""
    with (
        patch.object(commit_copies, "LEAST_CHUNKS", 1),
        patch.object(commit_log, "PART", 7),
        patch.object(early_results, "LEAST_IMAGES", 1),
        patch.object(early_results, "_REST_S", 0.0),
    ):
        yield


@pytest.fixture
def case(settings: Settings, every_job: None, request: pytest.FixtureRequest) -> Iterator[CommittedJob]:
    case = CommittedJob(settings, request.node.name)
    yield case
    case.remove()


def a_round(case: CommittedJob) -> Round:
    return Round(case.job, case.plan, case.records, case.ledger)


def targets(case: CommittedJob, *numbers: int) -> list[str]:
    return sorted(keys.result_file(case.job.id, case.job.items[n].result) for n in numbers)


def test_the_end_copies_what_no_round_has(case: CommittedJob) -> None:
    """Copies in the log are used at once, commits without one a round later, and nothing is copied twice."""
    early = a_round(case)
    for n in range(10):
        case.commit(n)
    commit_log.save(case.storage, case.ledger, case.job.id, least=7)  # seven of ten
    early.run(lambda: None)
    assert sorted(case.storage.copied) == targets(case, *range(7))
    early.run(lambda: None)
    assert sorted(case.storage.copied) == targets(case, *range(10))
    for n in range(10, COUNT):
        case.commit(n)
    case.save()
    early.run(lambda: None)
    assert sorted(case.storage.copied) == targets(case, *range(COUNT))
    manifest = case.end()
    assert case.storage.copied == []
    assert manifest.state == "done"
    assert [case.storage.get(file.key) for file in manifest.files] == [b"picture %d" % n for n in range(COUNT)]


def test_a_result_that_is_not_its_commits_is_copied_again(case: CommittedJob) -> None:
    """One that was overwritten, one whose chunk has another commit by now, and one that is gone."""
    for n in range(COUNT):
        case.commit(n)
    case.save()
    a_round(case).run(lambda: None)
    case.storage.put(targets(case, 11)[0], b"strange 11")  # as long as what was there
    other = case.done(12, "2-4567cdef", b"pikture 12")
    case.storage.put(keys.done(case.job.id, 12), encode(other))
    case.storage.delete(targets(case, 13)[0])
    manifest = case.end()
    assert sorted(case.storage.copied) == targets(case, 11, 12, 13)
    found = {file.item: case.storage.get(file.key) for file in manifest.files}
    assert found == {n: b"picture %d" % n for n in range(COUNT)} | {12: b"pikture 12"}


def test_another_orchestrator_copies_nothing_that_stands(case: CommittedJob) -> None:
    """It lists the results once; what the first one had not copied when it ended is copied then."""
    for n in range(COUNT):
        case.commit(n)
    case.save()
    calls = iter(range(COUNT))

    def checkpoint() -> None:
        if next(calls) >= 9:
            raise Interrupted("The orchestrator was told to end.")

    with pytest.raises(Interrupted):
        a_round(case).run(checkpoint)
    first = set(case.storage.copied)
    assert 0 < len(first) <= 9
    case.storage.copied.clear()
    a_round(case).run(lambda: None)
    assert set(case.storage.copied) == set(targets(case, *range(COUNT))) - first


def test_a_job_opened_again_is_left_to_its_end(case: CommittedJob) -> None:
    """A result that stands may be why it was opened: there it is read before it counts."""
    for n in range(COUNT):
        case.commit(n)
    case.save()
    a_round(case).run(lambda: None)
    case.storage.put(keys.control(case.job.id), encode(Control(retries=1, changes=1)))
    case.storage.copied.clear()
    a_round(case).run(lambda: None)
    assert case.storage.copied == []
    rotten = targets(case, 5)[0]
    was = {"sha256": case.done(5).outputs[0].sha256}
    case.storage._client.put_object(Bucket=case.storage.bucket, Key=rotten, Body=b"picturf 5", Metadata=was)
    case.end()
    assert case.storage.copied == [rotten]


def test_commits_that_cannot_be_read_are_left_to_the_end(case: CommittedJob) -> None:
    """A round goes on past them; they are failures of their own images."""
    for n in range(COUNT):
        case.commit(n)
    case.storage.put(keys.done(case.job.id, 3), b"no commit")
    case.storage.delete(keys.attempt_image(case.job.id, 4, "1-0123abcd", 4))
    case.ledger.take_copies(case.job.id, COUNT)
    early = a_round(case)
    early.run(lambda: None)
    early.run(lambda: None)
    assert {failure.item for failure in case.end().failures} == {3, 4}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Cancelled("The job was cancelled."), False),
        (LeaseLost("Another has the lock."), False),
        (Unreachable("S3 does not answer."), True),
    ],
)
def test_a_round_that_must_end_is_no_warning(
    error: Exception, told: bool, case: CommittedJob, caplog: pytest.LogCaptureFixture
) -> None:
    """A round that ends with its job or its lock says nothing; any other error is logged. The next round can begin after each."""

    def fail() -> None:
        raise error

    early = EarlyResults(case.records, case.ledger, lambda job, act: fail)
    early.start(case.job, case.plan)
    wait([*early._running.values()])
    assert early.rests(case.job.id)
    assert ("results are left to assembly" in caplog.text) == told
    early.close()


def copied_early(cluster: Stepped, job: str) -> set[str]:
    return {key for key, _ in cluster.storage.list(keys.results_prefix(job))}


def test_orchestrators_copy_results_of_a_running_job(settings: Settings, every_job: None, tmp_path: Path) -> None:
    """Before its last chunk a job has results in place; a round at work keeps every orchestrator from assembling it."""
    sources = [write_noise(tmp_path / f"image{n}.png", n) for n in range(6)]
    with patch.object(ingest, "GROUP_IMAGES", 1), stepped(settings, 2) as cluster:
        job = cluster.submit(sources, Spec(model="identity"))
        early = [service._early for service in cluster.services]
        for _ in range(60):
            cluster.look()
            wait([*early[0]._running.values()])
            counts = cluster.ledger.counts(job)
            if counts is not None and 0 < counts.done < counts.total and copied_early(cluster, job):
                break
            for chunk in cluster.announced(job)[:1]:
                cluster.worker.work(job, chunk)
        assert copied_early(cluster, job)
        with cluster.ledger.lock(f"assemble:{job}", 60.0) as keep:
            assert keep is not None  # no round is at work, and none begins now
            for _ in range(60):
                cluster.look(1)
                cluster.work(job)
            counts = cluster.ledger.counts(job)
            assert counts is not None
            assert counts.settled
            assert cluster.records.manifest(job) is None
        manifest = cluster.finish(job)
        assert manifest.state == "done"
        assert len(cluster.results(job)) == len(sources)
