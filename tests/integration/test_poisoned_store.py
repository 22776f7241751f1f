"""Hostile content of the store and the ledger costs at most its own job, and retry repairs it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis

from contract import keys
from contract.documents import encode
from contract.errors import IntegrityError, UsageError
from contract.job import Chunk, Done, Output
from orchestrator.jobs import retention
from testkit import cluster as rigs
from testkit.cluster import Rig, rig
from testkit.processes import until

FRAMES = 50


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rigs.film(tmp_path_factory.mktemp("film"), FRAMES)


def flip(r: Rig, key: str) -> None:
    """Change one byte of an object and nothing of what is recorded about it, as a disk does."""
    client, bucket = r.storage._client, r.storage.bucket
    found = client.get_object(Bucket=bucket, Key=key)
    data = bytearray(found["Body"].read())
    data[len(data) // 2] ^= 1
    client.put_object(Bucket=bucket, Key=key, Body=bytes(data), Metadata=found["Metadata"])


def test_a_poisoned_job_costs_no_other(film: Path, folder: Path) -> None:
    """Documents that are none, too large or too deep, chunks that no plan has: other jobs go on, lists and gc skip them."""
    with rig(folder, workers=1, fault="slow-0.1") as r:
        bad = [f"{n:016x}" for n in range(4)]
        r.storage.put(keys.job_spec(bad[0]), b"{nonsense")
        r.storage.put(keys.job_spec(bad[1]), b"[" * 100_000)
        r.storage.put(keys.job_spec(bad[2]), b'{"id": "0000000000000002", "version": 1}')
        r.storage.put(keys.control(bad[3]), b"{}")
        for job in bad:
            r.ledger.announce_job(job)
        job = r.submit(film)
        for name in ("zzz", "99999", "007", "1" * 40):
            r.storage.put(f"{keys.job_prefix(job)}chunks/{name}/done.json", b"x")
        with Redis.from_url(r.settings.redis_url) as raw:
            raw.flushall()  # the ledger is made from this listing
        manifest = r.finish(job)
        assert manifest.state == "done"
        assert rigs.differences(rigs.undisturbed(film), r.result(job, folder)) == 0
        assert [status.id for status in r.jobs.all_jobs()] == [job]
        late = datetime.now(UTC) + timedelta(days=2)
        assert job in {sweep.job for sweep in retention.find(r.storage, timedelta(days=1), results=False, now=late)}


def test_a_ledger_that_counts_too_much_makes_no_result(film: Path, folder: Path) -> None:
    """A forged entry in Redis that all is done only delays a job; its result still has every frame."""
    with rig(folder, workers=1, fault="slow-0.2") as r:
        job = r.submit(film)
        r.wait_done(job, 2)
        with Redis.from_url(r.settings.redis_url) as raw:
            name = f"respool:{{{job}}}"
            for chunk in range(FRAMES // 5):
                raw.setbit(f"{name}:done", chunk, 1)
            raw.hset(name, "done", FRAMES // 5)
        assert r.finish(job).state == "done"
        assert rigs.differences(rigs.undisturbed(film), r.result(job, folder)) == 0


def test_what_rots_in_the_store_is_named_and_mended(film: Path, folder: Path) -> None:
    """A flipped byte of a chunk and of the result: neither is delivered, and retry does the chunk again."""
    with rig(folder, workers=1) as r:
        job = r.submit(film)
        manifest = r.finish(job)
        with pytest.raises(UsageError, match="nothing to retry"):
            r.jobs.retry(job)
        commit = r.records.done(job, until(lambda: r.records.plan(job), "a plan", 60).chunks[3])
        flip(r, commit.outputs[0].key)
        flip(r, manifest.files[0].key)
        with pytest.raises(IntegrityError, match="damaged at rest"):
            r.result(job, folder)
        assert r.jobs.retry(job) == 1
        assert r.finish(job).state == "done"
        assert rigs.differences(rigs.undisturbed(film), r.result(job, folder)) == 0


def forge(r: Rig, job: str, chunk: Chunk, work: str) -> None:
    """Commit another job's object as `chunk`'s result, naming `work` as what it owns."""
    foreign = keys.attempt("00000000000000aa", 0, "1-00000000")
    r.storage.put(foreign, b"somebody else's")
    output = Output(0, foreign, hashlib.sha256(b"somebody else's").hexdigest(), 15, chunk.count, 96, 64)
    forged = Done(
        chunk.n, "1-00000000", "forger", chunk.count, (output,), work=work, first=chunk.first, count=chunk.count
    )
    assert r.storage.put(keys.done(job, chunk.n), encode(forged), if_absent=True)


def test_a_forged_commit_fails_its_job_and_retry_does_the_chunk(film: Path, folder: Path) -> None:
    """A done.json of the right frames that names another job's object is no commit: nothing of it is delivered."""
    with rig(folder, workers=1, fault="slow-0.2") as r:
        job = r.submit(film)
        last = until(lambda: r.records.plan(job), "a plan", 60).chunks[-1]
        forge(r, job, last, last.work(job))
        manifest = r.finish(job)
        assert (manifest.state, manifest.files) == ("failed", ())
        assert "names objects that are not its chunk's" in manifest.failures[0].reason
        assert r.jobs.retry(job) == 1
        assert r.finish(job).state == "done"
        assert rigs.differences(rigs.undisturbed(film), r.result(job, folder)) == 0


def test_a_commit_of_other_frames_is_done_again_when_the_ledger_is_made(film: Path, folder: Path) -> None:
    """A done.json of other frames, as a job opened before leaves it, counts for nothing: its chunk is done again."""
    with rig(folder, workers=1, fault="slow-0.2") as r:
        job = r.submit(film)
        plan = until(lambda: r.records.plan(job), "a plan", 60)
        forge(r, job, plan.chunks[-1], plan.chunks[0].work(job))
        with Redis.from_url(r.settings.redis_url) as raw:
            raw.flushall()
        manifest = r.finish(job)
        assert (manifest.state, manifest.failures) == ("done", ())
        assert r.records.done(job, plan.chunks[-1]).worker != "forger"
        assert rigs.differences(rigs.undisturbed(film), r.result(job, folder)) == 0
