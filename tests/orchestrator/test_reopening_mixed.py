"""Opening jobs of images, and mixed ones, again: each result is of its own source."""

from __future__ import annotations

import io
import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from contract import keys
from contract.job import Spec
from orchestrator.ingest.job import ingest
from orchestrator.jobs import retention
from testkit.clips import make_film
from testkit.images import write_noise
from testkit.stepped import Stepped

_SEEDS = itertools.count(900)
SPEC = Spec(model="identity", codec="ffv1", container="mkv", image_format="png")


def pixels(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


def delivered(cluster: Stepped, job: str) -> dict[str, bytes]:
    manifest = cluster.records.manifest(job)
    assert manifest is not None
    return {file.name: cluster.storage.get(file.key) for file in manifest.files}


def test_a_living_worker_takes_the_right_images_after_a_retry(cluster: Stepped, tmp_path: Path) -> None:
    """Images are refused at ingest and retried: the worker that knew the first plan makes each result of its own source."""
    sources = [write_noise(tmp_path / f"{name}.png", next(_SEEDS)) for name in "abcd"]
    job = cluster.submit(sources, SPEC)
    cluster.acts.refusals = {0: "it needs more memory", 2: "it needs more memory"}
    assert cluster.finish(job).state == "failed"
    cluster.acts.refusals = {}
    cluster.jobs.retry(job)
    assert cluster.finish(job).state == "done"
    found = delivered(cluster, job)
    assert {name: pixels(data) for name, data in found.items()} == {s.name: pixels(s.read_bytes()) for s in sources}


def test_two_ingests_at_once_make_one_plan(cluster: Stepped, tmp_path: Path) -> None:
    """An ingest that was overtaken stores its inputs beside the other's, takes its plan, and spoils nothing."""
    job = cluster.submit([make_film(tmp_path / "film.mp4", 10, seed=next(_SEEDS))], SPEC)
    made = []

    def overtake() -> None:
        if not made:
            made.append(None)
            made[0] = ingest(cluster.records.job(job), cluster.storage, 1, lambda: None)

    late = ingest(cluster.records.job(job), cluster.storage, 1, overtake)
    assert late == made[0]
    assert cluster.finish(job).state == "done"


def test_gc_stops_where_a_job_is_opened_again(
    cluster: Stepped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a removal the same files are submitted and retried: nothing more is removed, and the job ends."""
    films = [make_film(tmp_path / f"{n}.mp4", 10, seed=next(_SEEDS)) for n in range(2)]
    job = cluster.submit(films, SPEC)
    cluster.acts.refusals = {0: "it needs more memory"}
    cluster.finish(job)
    cluster.acts.refusals = {}
    (sweep,) = (
        found
        for found in retention.find(cluster.storage, timedelta(0), False, datetime.now(UTC) + timedelta(days=1))
        if found.job == job
    )
    delete, removed = cluster.storage.delete, []

    def opened(key: str) -> None:
        delete(key)
        removed.append(key)
        if len(removed) == 2:
            cluster.submit(films, SPEC)
            cluster.jobs.retry(job)

    monkeypatch.setattr(cluster.storage, "delete", opened)
    assert not retention.remove(cluster.storage, sweep)
    assert len(removed) == 2
    assert cluster.finish(job).state == "done"


def test_a_submission_completes_although_gc_took_its_sources(
    cluster: Stepped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source goes between its upload and job.json, as that of an old unfinished submission may: it is sent again."""
    film = make_film(tmp_path / "film.mp4", 10, seed=next(_SEEDS))
    from stores.storage import Storage

    put = Storage.put

    def taken(self: Storage, key: str, data: bytes, if_absent: bool = False) -> bool:
        if key.endswith("/job.json"):
            self.delete(keys.source(key.split("/")[1], 0))
        return put(self, key, data, if_absent)

    monkeypatch.setattr(Storage, "put", taken)
    assert cluster.finish(cluster.submit([film], SPEC)).state == "done"
