"""One film, one look: the first worker of a job decides backend and precision, and others follow or leave the chunks alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from contract import keys
from contract.documents import encode
from contract.job import Precision, Spec, Weights
from contract.method import Method
from contract.provenance import read
from contract.settings import Settings
from testkit.natural_clips import make_moving
from testkit.stepped import Stepped, stepped
from workers.runtime.worker import Worker

Pinned = tuple[Weights, Path]
Frames = list[npt.NDArray[np.uint8]]
_NAMES = itertools.count()


@pytest.fixture
def cluster(settings: Settings) -> Iterator[Stepped]:
    with stepped(replace(settings, threads=1)) as made:
        yield made


@pytest.fixture
def submitted(cluster: Stepped, pinned: Callable[[str], Pinned], tmp_path: Path) -> Callable[..., str]:
    """Submit a natural film of four chunks, to be enlarged by real weights."""

    def submit(precision: Precision = "auto") -> str:
        weights, _ = pinned("realesr-animevideov3")
        film = make_moving(tmp_path / f"{next(_NAMES)}.mp4", 8, (64, 48))
        spec = Spec(weights.name, codec="ffv1", container="mkv", chunk_frames=2, precision=precision)
        job = cluster.submit([film], spec)
        while not cluster.announced(job):
            cluster.look()
        return job

    return submit


def worker(cluster: Stepped, backend: str) -> Worker:
    made = Worker(replace(cluster.settings, backend=backend, device="cpu"))
    made.name = made.heartbeat._worker = f"{backend}-worker"
    return made


def delivered(cluster: Stepped, job: str, path: Path) -> Frames:
    manifest = cluster.records.manifest(job)
    assert manifest is not None
    assert manifest.state == "done", manifest.failures
    cluster.storage.get_file(manifest.files[0].key, path)
    with av.open(str(path), "r") as film:
        return [frame.to_ndarray() for frame in film.decode(video=0)]


def decibels(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    error = float(np.square(one.astype(np.float64) - other).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def test_backends_in_fp32_make_one_film(cluster: Stepped, submitted: Callable[..., str], tmp_path: Path) -> None:
    """Chunks of two backends in fp32 are within 50 dB of the film that one of them makes alone, and the film's tag names both."""
    mixed, alone = submitted("fp32"), ""
    cluster.finish(mixed, [worker(cluster, "native"), worker(cluster, "torch")])
    frames = delivered(cluster, mixed, tmp_path / "mixed.mkv")
    with av.open(str(tmp_path / "mixed.mkv"), "r") as film:
        made = read(film.metadata["RESPOOL"])
    assert made is not None
    assert set(made.backend.split(", ")) == {"native", "torch"}
    alone = submitted("fp32")
    assert alone != mixed
    cluster.finish(alone, [worker(cluster, "native")])
    same = delivered(cluster, alone, tmp_path / "alone.mkv")
    worst = min(decibels(a, b) for a, b in zip(frames, same, strict=True))
    assert worst >= 50, worst


def test_another_rounding_is_refused(cluster: Stepped, submitted: Callable[..., str]) -> None:
    """A job that torch began in bf16: a worker with another backend leaves it, the status says so, and no try is counted."""
    job = submitted("bf16")
    first, other = worker(cluster, "torch"), worker(cluster, "openvino")
    (chunk, *_) = cluster.announced(job)
    assert first.work(job, chunk) == "done"
    cluster.look()
    (chunk, *_) = cluster.announced(job)
    assert other.work(job, chunk) == "handed back"
    assert other.work(job, chunk) == "declined"
    assert cluster.ledger.tries(job, chunk) == 0
    other.ledger.announce_worker(other.name, other._info())
    assert "begun in torch bf16" in cluster.jobs.status(job).blocked
    first.ledger.announce_worker(first.name, first._info())
    assert cluster.jobs.status(job).blocked == ""
    cluster.finish(job, [first])


def test_a_job_goes_on_as_it_was_begun(cluster: Stepped, submitted: Callable[..., str]) -> None:
    """A worker that would choose another precision takes the job's own."""
    job = submitted()
    cluster.storage.put(keys.method(job), encode(Method("torch", "bf16")), if_absent=True)
    cluster.finish(job, [worker(cluster, "auto")])
    plan = cluster.records.plan(job)
    assert plan is not None
    commits = list(cluster.records.dones(plan, range(len(plan.chunks))))
    assert {bytes(c.record["precision"]) for c in commits} == {b'"bf16"'}
    assert {bytes(c.record["backend"]) for c in commits} == {b'"torch"'}
