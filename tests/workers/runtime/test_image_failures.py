"""Images that one worker's device cannot enhance are tried on another's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contract.errors import EnhanceError
from contract.job import Spec
from contract.settings import Settings
from testkit.stepped import Stepped, stepped
from workers.runtime.worker import Worker

_SEEDS = itertools.count(3000)


@pytest.fixture
def cluster(settings: Settings) -> Iterator[Stepped]:
    with stepped(replace(settings, lease_ttl_s=3600.0)) as made:
        yield made


def worker(cluster: Stepped, name: str) -> Worker:
    made = Worker(cluster.settings)
    made.name = made.heartbeat._worker = name
    made.ledger.announce_worker(name, made._info())
    return made


@pytest.mark.parametrize("first", [[EnhanceError("NaN")], [ValueError("a library"), EnhanceError("NaN")]], ids=str)
def test_what_one_device_cannot_do_another_may(cluster: Stepped, tmp_path: Path, first: list[Exception]) -> None:
    """A device's error is no image's failure, whatever failed before in the same chunk: the next worker delivers it."""
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(next(_SEEDS)).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path)
    job = cluster.submit([path], Spec(model="identity", image_format="png"))
    while not cluster.announced(job):
        cluster.look()
    (chunk,) = cluster.announced(job)
    for n, error in enumerate(first):
        broken = worker(cluster, f"broken-{n}")

        def fail(*_: Any, error: Exception = error) -> Any:
            raise error

        broken._enhancement._images._enhance = fail  # type: ignore[method-assign]
        assert broken.work(job, chunk) == "handed back"
    assert worker(cluster, "sound").work(job, chunk) == "done"
    assert cluster.finish(job).state == "done"
