"""The plan that a worker has read is read again when the ledger counts the chunks of another one, and only then."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable

import pytest

from contract import keys
from contract.documents import encode
from contract.errors import Newer
from contract.job import Chunk, Item, Job, Plan, Spec
from contract.settings import Settings
from stores.storage import Storage
from workers.runtime.job_cache import JobCache

_JOBS = itertools.count(0xCAC4E)


@pytest.fixture
def job(settings: Settings) -> str:
    """A job of one image with a plan of one chunk."""
    storage, job = Storage(settings), f"{next(_JOBS):016x}"
    item = Item(0, "image", "a.png", "a.png", "0" * 64, 1)
    storage.put(keys.job_spec(job), encode(Job(job, Spec("identity"), (item,), "2026-01-01")))
    storage.put(keys.plan(job), encode(plan(job, 1)))
    return job


def plan(job: str, chunks: int) -> Plan:
    return Plan(job, tuple(Chunk(n, "image", 0, 0, 1, f"image {n}") for n in range(chunks)))


@pytest.fixture
def storage(settings: Settings) -> Storage:
    """The store."""
    return Storage(settings)


@pytest.fixture
def asked(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that the store is asked about."""
    keys_asked: list[str] = []

    def spied(call: Callable[[str], object]) -> Callable[[str], object]:
        def ask(key: str) -> object:
            keys_asked.append(key)
            return call(key)

        return ask

    for name in ("stat", "get"):
        monkeypatch.setattr(storage, name, spied(getattr(storage, name)))
    return keys_asked


def test_a_known_plan_is_not_asked_for(settings: Settings, storage: Storage, asked: list[str], job: str) -> None:
    """The first chunk of a job costs three requests, later ones of the same plan none."""
    made = JobCache(settings, storage)
    first = made.job(job)
    assert made.knows(job)
    assert len(asked) == 3
    assert made.job(job, plan(job, 1).fingerprint()) is first
    assert len(asked) == 3


@pytest.mark.parametrize("known_by", ["fingerprint", "nothing"])
def test_an_extended_plan_is_read(settings: Settings, storage: Storage, job: str, known_by: str) -> None:
    """A claim that names another plan, or that of an older ledger, which names none, gets the plan as S3 has it now."""
    made = JobCache(settings, storage)
    made.job(job)
    extended = plan(job, 2)
    storage.put(keys.plan(job), encode(extended))
    assert made.job(job, extended.fingerprint() if known_by == "fingerprint" else "").plan == extended


def test_a_newer_plan_makes_its_job_unknown(settings: Settings, storage: Storage, job: str) -> None:
    """A plan that this version cannot read makes the cache forget its job: the next message of it is not even claimed."""
    made = JobCache(settings, storage)
    made.job(job)
    storage.put(keys.plan(job), encode(plan(job, 2)).replace(b'"version":2', b'"version":999'))
    with pytest.raises(Newer):
        made.job(job, "0" * 16)
    assert not made.knows(job)


def test_preloaded_modules_are_never_traversed_again() -> None:
    """Modules that the preload imports are exempt from garbage collection, which goes on afterwards."""
    code = """
import gc, threading
from contract.settings import Settings
from stores.storage import Storage
from workers.runtime.job_cache import JobCache
settings = Settings()
JobCache(settings, Storage(settings)).preload()
for thread in threading.enumerate():
    if thread.name == "preload":
        thread.join()
print(gc.isenabled(), gc.get_freeze_count() > 100_000)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
