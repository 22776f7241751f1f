"""Copies of commits spare a job's end its reads, and never decide anything: S3's listing says which of them hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from contract import keys
from contract.documents import encode
from contract.errors import StorageError, Unsettled
from contract.job import Manifest
from contract.settings import Settings
from orchestrator.jobs.client import Jobs
from stores import commit_copies, commit_log
from stores.ledger import Ledger
from stores.storage import Storage
from testkit.clips import make_film
from testkit.committed_job import COUNT, CommittedJob
from testkit.stepped import stepped


@pytest.fixture
def every_job() -> Iterator[None]:
    """Copy the commits of small jobs, too."""
    with patch.object(commit_copies, "LEAST_CHUNKS", 1), patch.object(commit_log, "PART", 7):
        yield


@pytest.fixture
def case(settings: Settings, every_job: None, request: pytest.FixtureRequest) -> Iterator[CommittedJob]:
    case = CommittedJob(settings, request.node.name)
    yield case
    case.remove()


def results(manifest: Manifest) -> dict[int, str]:
    return {file.item: file.sha256 for file in manifest.files}


def test_a_job_with_copies_of_all_commits_asks_for_none(case: CommittedJob) -> None:
    """The manifest is that of a job whose log is gone, but for its time."""
    for n in range(COUNT):
        case.commit(n)
        commit_log.save(case.storage, case.ledger, case.job.id, least=7)
    case.save()
    assert case.ledger.copies_waiting(case.job.id) == 0
    first = case.end()
    assert case.asked() == set()
    assert first.state == "done"
    assert len(first.files) == COUNT
    records = case.storage.get(keys.records(case.job.id))
    for key, _ in list(case.storage.list(keys.commit_log_prefix(case.job.id))):
        case.storage.delete(key)
    case.storage.delete(keys.manifest(case.job.id))
    second = case.end()
    assert case.asked() == set(range(COUNT))
    assert replace(second, finished=first.finished) == first
    assert (
        case.storage.get(keys.records(case.job.id)).replace(second.finished.encode(), first.finished.encode())
        == records
    )


def test_a_commit_that_changed_after_it_was_copied_is_read_again(case: CommittedJob) -> None:
    """Its copy names an object that is gone: only S3's commit counts."""
    for n in range(COUNT):
        case.commit(n)
    case.save()
    other = case.done(3, "2-4567cdef")
    case.storage.put(keys.done(case.job.id, 3), encode(other))
    case.storage.delete(keys.attempt_image(case.job.id, 3, "1-0123abcd", 3))
    ended = case.end()
    assert case.asked() == {3}
    assert ended.state == "done"
    assert b"2-4567cdef" in case.storage.get(keys.records(case.job.id))


def test_a_commit_that_is_gone_after_it_was_copied_does_not_count(case: CommittedJob) -> None:
    """The job is not ended: its ledger is rebuilt, and the chunk is done again."""
    for n in range(COUNT):
        case.commit(n)
    case.save()
    case.storage.delete(keys.done(case.job.id, 3))
    with pytest.raises(Unsettled, match=f"{COUNT - 1} of {COUNT} chunks"):
        case.end()
    assert case.records.manifest(case.job.id) is None


@pytest.mark.parametrize("harm", ["changed", "rotten", "cut", "no commits", "of other chunks"])
def test_a_spoilt_log_changes_nothing(case: CommittedJob, harm: str) -> None:
    """Copies that are not the bytes of S3's commits are asked for one by one."""
    for n in range(COUNT):
        case.commit(n)
    case.save()
    key = min(key for key, _ in case.storage.list(keys.commit_log_prefix(case.job.id)))
    part = case.storage.get(key)
    lost = {n for n in range(COUNT) if b'"chunk":%d,' % n in part}
    if harm == "changed":
        case.storage.put(key, part.replace(b'"w"', b'"v"'))
    elif harm == "rotten":
        was = {"sha256": key.rpartition("/")[2]}
        spoilt = bytes([part[0] ^ 1]) + part[1:]
        case.storage._client.put_object(Bucket=case.storage.bucket, Key=key, Body=spoilt, Metadata=was)
    elif harm == "cut":
        case.storage.put(key, part[: len(part) // 2])
        lost = {
            n for n in lost if encode(case.records.done(case.job.id, case.plan.chunks[n])) not in part[: len(part) // 2]
        }
    elif harm == "no commits":
        case.storage.put(key, b"\xff\n[]\n{}\n\n" + b'{"chunk":-1}\n{"chunk":99999}\n')
    else:
        text, first, last = part.decode(), min(lost), max(lost)
        swapped = text.replace(f'"chunk":{first},', '"chunk":X,').replace(f'"chunk":{last},', f'"chunk":{first},')
        case.storage.put(key, swapped.replace('"chunk":X,', f'"chunk":{last},').encode())
        lost = {first, last}
    ended = case.end()
    assert case.asked() == lost
    assert ended.state == "done"
    assert results(ended) == {n: case.done(n).outputs[0].sha256 for n in range(COUNT)}


def test_what_an_orchestrator_had_in_hand_when_it_died_is_asked_for(case: CommittedJob) -> None:
    """One that dies between Redis and S3 loses copies, no commits."""
    for n in range(COUNT):
        case.commit(n)
    taken = case.ledger.take_copies(case.job.id, 7)
    case.save()
    ended = case.end()
    assert len(taken) == 7
    assert case.asked() == set(range(7))
    assert len(ended.files) == COUNT


def test_a_store_that_refuses_a_part_costs_its_copies_only(case: CommittedJob) -> None:
    """The failure is raised, and what still waits goes into the log later."""
    for n in range(COUNT):
        case.commit(n)
    with patch.object(Storage, "write", side_effect=StorageError("refused")), pytest.raises(StorageError):
        case.save()
    case.save()
    case.end()
    assert case.asked() == set(range(7))


def test_two_orchestrators_never_take_one_copy(case: CommittedJob, settings: Settings) -> None:
    """Two orchestrators move copies at the same time, and the log has each of them once."""
    for n in range(COUNT):
        case.commit(n)
    ready = Barrier(2)

    def move() -> None:
        storage, ledger = Storage(settings), Ledger(settings)
        ready.wait()
        commit_log.save(storage, ledger, case.job.id, least=1)

    movers = [Thread(target=move) for _ in range(2)]
    for mover in movers:
        mover.start()
    for mover in movers:
        mover.join()
    parts = [case.storage.get(key) for key, _ in case.storage.list(keys.commit_log_prefix(case.job.id))]
    assert sum(len(part.splitlines()) for part in parts) == COUNT
    case.end()
    assert case.asked() == set()


def test_copies_are_bounded(settings: Settings) -> None:
    """No copy of a small job, of a large commit, or beyond the number that may wait; a closed job leaves none."""
    small = CommittedJob(settings, "small")  # whose jobs have COUNT chunks
    small.commit(0)
    assert small.ledger.copies_waiting(small.job.id) == 0
    with patch.object(commit_copies, "LEAST_CHUNKS", COUNT), patch.object(commit_copies, "_MOST_WAITING", 2):
        large = replace(small.done(1), notes=("x" * commit_copies.LARGEST_COPY,))
        small.ledger.settle(small.job.id, 1, "done", 1, encode(large))
        assert small.ledger.copies_waiting(small.job.id) == 0
        for n in range(2, 6):
            small.commit(n)
            small.ledger.settle(small.job.id, n, "done", 1, b"{}")  # the second time
    assert small.ledger.copies_waiting(small.job.id) == 2
    assert small.ledger.close(small.job.id, 0)
    assert small.ledger.copies_waiting(small.job.id) == 0
    small.remove()


def test_an_attempt_that_lost_is_removed(case: CommittedJob) -> None:
    """Of two attempts the committed one stays, copied or not; a chunk whose commit is no commit keeps both."""
    for n in range(COUNT):
        case.commit(n)
    case.save()
    losers = {n: case.done(n, "2-4567cdef").outputs[0].key for n in (1, 2, 3)}
    case.storage.put(keys.done(case.job.id, 3), b"no commit")
    other = replace(case.done(2), worker="v")  # the same attempt, so that its copy does not hold
    case.storage.put(keys.done(case.job.id, 2), encode(other))
    ended = case.end()
    left = {key for key, _ in case.storage.list(f"{keys.job_prefix(case.job.id)}chunks/")}
    assert left & set(losers.values()) == {losers[3]}
    assert {failure.item for failure in ended.failures} == {3}
    assert all(keys.attempt_image(case.job.id, n, "1-0123abcd", n) in left for n in range(COUNT))


def test_a_lost_commit_is_done_again(settings: Settings, every_job: None, tmp_path: Path) -> None:
    """A job whose last commit vanishes from S3 after it was copied ends with all its frames."""
    film = make_film(tmp_path / "film.mp4", 20, (48, 32), gop=5)
    with stepped(settings) as cluster:
        job = cluster.submit([film])
        for _ in range(60):
            if (counts := cluster.ledger.counts(job)) is not None and counts.settled:
                break
            cluster.look()
            cluster.work(job)
        assert cluster.ledger.copies_waiting(job) == 4
        commit_log.save(cluster.storage, cluster.ledger, job, least=1)
        cluster.storage.delete(keys.done(job, 1))
        manifest = cluster.finish(job)
        assert manifest.state == "done"
        assert cluster.records.done(job, cluster.records.plan(job).chunks[1]).frames == 5  # type: ignore[union-attr]
        assert Jobs(settings).status(job).state == "done"
