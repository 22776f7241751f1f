"""Assembly of images writes each result to the store once and never again."""

from __future__ import annotations

import hashlib

import pytest

from contract import keys
from contract.documents import encode
from contract.job import Chunk, Done, Item, ItemFailure, Job, Output, Plan, Spec
from contract.job_ids import job_id
from contract.settings import Settings
from orchestrator.assemble.job import Assembly
from orchestrator.job_store import Records
from stores.storage import Storage

COUNT = 70  # more than are worked on at a time


class Watched(Storage):
    """A real store that keeps a list of what was copied."""

    copied: list[str]

    def copy(self, source: str, target: str, size: int) -> None:
        self.copied.append(target)
        super().copy(source, target, size)


@pytest.fixture
def storage(settings: Settings) -> Watched:
    storage = Watched(settings)
    storage.copied = []
    return storage


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def committed(storage: Storage, name: str) -> tuple[Job, Plan]:
    """A job of COUNT images of a chunk each, all committed but the third, which failed; and a twin of the first."""
    items = tuple(Item(n, "image", f"{name}{n}.png", f"{name}{n}.png", sha256(b"in%d" % n), 3) for n in range(COUNT))
    items += (Item(COUNT, "image", f"{name}twin.png", f"{name}twin.png", items[0].sha256, 3),)
    spec = Spec(model="identity")
    job = Job(job_id(spec, items), spec, items, "2026-01-01T00:00:00+00:00")
    plan = Plan(
        job.id,
        tuple(Chunk(n, "image", 0, n, 1, items[n].name) for n in range(COUNT)),
        duplicates=((COUNT, 0),),
    )
    storage.put(keys.job_spec(job.id), encode(job))
    storage.put(keys.plan(job.id), encode(plan))
    for n in range(COUNT):
        commit(storage, job, n, None if n == 3 else b"picture %d" % n)
    return job, plan


def commit(storage: Storage, job: Job, n: int, made: bytes | None, name: str = "1-0123abcd") -> None:
    outputs: tuple[Output, ...] = ()
    failures: tuple[ItemFailure, ...] = ()
    if made is None:
        failures = (ItemFailure(n, job.items[n].name, "it cannot be read"),)
    else:
        key = keys.attempt_image(job.id, n, name, n)
        storage.put(key, made)
        outputs = (Output(n, key, sha256(made), len(made), 1, 2, 2),)
    storage.put(keys.done(job.id, n), encode(Done(n, name, "w", 1, outputs, failures)))


def test_a_job_opened_again_copies_only_what_is_new(storage: Watched, settings: Settings) -> None:
    """The second assembly, after one image was mended, one result overwritten and one rotten, copies these and says the rest again."""
    job, plan = committed(storage, "again")
    records = Records(storage)
    first = Assembly(job, plan, records, 1, settings.scratch).run(lambda: None)
    assert first.state == "failed"
    assert len(first.files) == COUNT  # with the twin, without the third
    assert len(storage.copied) == COUNT
    assert [storage.get(file.key) for file in first.files[:2]] == [b"picture 0", b"picture 1"]
    storage.delete(keys.manifest(job.id))
    storage.copied.clear()
    commit(storage, job, 3, b"mended", "2-0123abcd")
    spoilt = keys.result_file(job.id, job.items[5].result)
    storage.put(spoilt, b"strange 5")  # as long as what was there
    rotten = keys.result_file(job.id, job.items[6].result)
    was = {"sha256": sha256(b"picture 6")}
    storage._client.put_object(Bucket=storage.bucket, Key=rotten, Body=b"picturf 6", Metadata=was)
    second = Assembly(job, plan, records, 1, settings.scratch).run(lambda: None)
    assert second.state == "done"
    assert sorted(storage.copied) == sorted([keys.result_file(job.id, job.items[3].result), spoilt, rotten])
    assert storage.get(spoilt) == b"picture 5"
    assert storage.get(rotten) == b"picture 6"
    assert {file.item for file in second.files} == set(range(COUNT + 1))
