"""A broken worker costs no chunk its tries, and an outage of the store costs nobody any."""

from __future__ import annotations

import errno
import itertools
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contract import keys
from contract.errors import BadInput, EnhanceError, StorageError, Unreachable
from contract.settings import Settings
from testkit.clips import make_film
from testkit.stepped import Stepped, stepped
from workers.runtime import fitness
from workers.runtime.health import blame
from workers.runtime.worker import Worker

_SEEDS = itertools.count(200)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitness, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(fitness, "LONGEST_WAIT_S", 0.001)


@pytest.fixture
def patient(settings: Settings) -> Settings:
    """Workers here beat once, so their heartbeats must last for the whole test."""
    return replace(settings, lease_ttl_s=3600.0)


@pytest.fixture
def cluster(patient: Settings) -> Iterator[Stepped]:
    with stepped(patient) as made:
        yield made


@pytest.fixture
def job(cluster: Stepped, tmp_path: Path) -> str:
    """A job of twelve chunks."""
    return cluster.submit([make_film(tmp_path / "film.mp4", 60, seed=next(_SEEDS))])


def worker(settings: Settings, name: str, scratch: Path) -> Worker:
    """A second worker of another name, which beats once."""
    made = Worker(replace(settings, scratch=scratch, chunk_soft_limit_s=0.2))
    made.name = made.heartbeat._worker = name
    made.ledger.announce_worker(name, made._info())
    return made


def test_a_worker_without_scratch_space_costs_no_chunk_a_try(
    cluster: Stepped, job: str, patient: Settings, tmp_path: Path
) -> None:
    """One of two workers cannot write: every chunk is done by the other, none is counted or set aside, and it says so."""
    scratch = tmp_path / "gone"
    broken = worker(patient, "broken", scratch)
    shutil.rmtree(scratch)
    scratch.write_bytes(b"")  # root writes everywhere but into a file
    cluster.ledger.announce_worker(cluster.worker.name, cluster.worker._info())
    while not cluster.announced(job):
        cluster.look()
    chunks = cluster.announced(job)
    assert broken.work(job, chunks[0]) == "handed back"
    assert "NotADirectoryError" in broken.fitness.problem or "FileExistsError" in broken.fitness.problem
    assert broken.work(job, chunks[0]) == "out of service"
    assert [cluster.ledger.tries(job, chunk) for chunk in chunks] == [0] * len(chunks)
    cluster.ledger.announce_worker("broken", broken._info())
    assert cluster.ledger.workers()["broken"]["problem"] == broken.fitness.problem
    cluster.ledger.reconcile(job, -1)
    assert cluster.finish(job).state == "done"
    scratch.unlink()
    scratch.mkdir()
    assert broken.work(job, 0) != "out of service"
    assert broken.fitness.problem == ""


def test_minutes_of_503_cost_no_try(cluster: Stepped, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store refuses many more requests in a row than a chunk has tries: nothing is counted, and the job ends well."""
    whole, left = cluster.worker.storage.get_file, [40]

    def busy(key: str, path: Path) -> Any:
        if left[0]:
            left[0] -= 1
            raise StorageError("S3 answered 503.")
        return whole(key, path)

    monkeypatch.setattr(cluster.worker.storage, "get_file", busy)
    manifest = cluster.finish(job)
    assert (manifest.state, left) == ("done", [0])
    assert not [key for key, _ in cluster.storage.list(keys.job_prefix(job)) if key.endswith("failed.json")]


def test_a_chunk_goes_to_another_worker_before_it_is_given_up(
    cluster: Stepped, job: str, patient: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker on which every chunk fails, whatever the reason, sets none aside while another one is fit."""
    bad = worker(patient, "bad", tmp_path)
    cluster.ledger.announce_worker(cluster.worker.name, cluster.worker._info())

    def fails(*_: Any) -> None:
        raise EnhanceError("only black comes out")

    monkeypatch.setattr(bad, "_enhance", fails)
    while not cluster.announced(job):
        cluster.look()
    chunk = cluster.announced(job)[0]
    assert bad.work(job, chunk) == "handed back"
    for _ in range(3 * patient.max_attempts):
        assert bad.work(job, chunk) == "elsewhere"
    assert cluster.ledger.tries(job, chunk) == 1
    assert cluster.finish(job).state == "done"


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "worker"),
        (PermissionError(errno.EACCES, "Permission denied"), "worker"),
        (MemoryError(), "worker"),
        (ModuleNotFoundError("no av", name="av"), "worker"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), "worker"),
        (StorageError("503"), "services"),
        (Unreachable("away"), "services"),
        (EnhanceError("black"), "chunk"),
        (BadInput("broken"), "chunk"),
        (ValueError("a library's"), "chunk"),
    ],
)
def test_whose_fault_a_failure_is(error: BaseException, fault: str) -> None:
    """Disk, device, memory and libraries are the worker's; those of Redis and S3 count against neither; all others are the chunk's."""
    assert blame(error) == fault


def test_what_looks_like_the_workers_fault_is_the_chunks_when_the_worker_is_fit(cluster: Stepped) -> None:
    """A chunk that needs more memory than any worker has must end: the test passes right after it failed."""
    assert cluster.worker.fitness.judge(MemoryError())[0] == "chunk"
    assert cluster.worker.fitness.problem == ""


def test_a_withdrawn_worker_leaves_at_once_when_it_is_to_end(cluster: Stepped, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for the next test ends with the process."""
    monkeypatch.setattr(fitness, "FIRST_WAIT_S", 600.0)
    monkeypatch.setattr(fitness, "LONGEST_WAIT_S", 600.0)
    cluster.worker.fitness.problem = "a broken disk"
    threading.Timer(0.1, cluster.worker.heartbeat.interrupt).start()
    cluster.worker.fitness.recover()
    assert cluster.worker.heartbeat.interrupted.is_set()
