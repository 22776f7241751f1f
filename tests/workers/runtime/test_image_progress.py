"""Progress inside a chunk of images: those that are ready count before the chunk is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contract.job import Spec
from contract.settings import Settings
from orchestrator.jobs.client import Jobs
from testkit.stepped import Stepped, stepped
from workers.runtime.worker import Worker


@pytest.fixture
def cluster(settings: Settings) -> Iterator[Stepped]:
    with stepped(replace(settings, lease_ttl_s=3600.0)) as made:
        yield made


def test_ready_images_count_before_their_chunk_is_stored(cluster: Stepped, tmp_path: Path) -> None:
    """The status and the time left follow each image: a chunk of many small ones would jump from nothing to all."""
    noise = np.random.default_rng(31)
    paths = [tmp_path / f"{n}.png" for n in range(4)]
    for path in paths:
        Image.fromarray(noise.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path)
    job = cluster.submit(paths, Spec(model="identity", image_format="png"))
    while not cluster.announced(job):
        cluster.look()
    (chunk,) = cluster.announced(job)
    worker, client, seen = Worker(cluster.settings), Jobs(cluster.settings), list[int]()
    enhance = worker._enhancement._images._enhance

    def look_first(*args: Any) -> Any:
        worker.ledger.announce_worker(worker.name, worker._info())
        seen.append(client.status(job).frames.done)
        return enhance(*args)

    worker._enhancement._images._enhance = look_first  # type: ignore[method-assign]
    assert worker.work(job, chunk) == "done"
    assert seen == [0, 1, 2, 3]
