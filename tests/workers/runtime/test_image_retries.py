"""One picture that a library cannot bear: tried twice, then given up alone and by name."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contract import job as words
from contract import keys
from contract.job import Chunk, Control, Done, Item, Job, Plan, Spec
from contract.settings import Settings
from stores.ledger import Ledger
from stores.storage import Storage
from workers.images import image
from workers.runtime.worker import Worker

JOB = "00000000000000c1"


@pytest.fixture
def worker(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker beside a job of two pictures, the second of which raises in a library whenever it is enhanced."""
    storage, ledger = Storage(settings), Ledger(settings)
    data = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(data, "png")
    png = data.getvalue()
    said = hashlib.sha256(png).hexdigest()
    items = [Item(n, "image", f"{n}.png", f"{n}.png", said, len(png), 64) for n in range(2)]
    plan = Plan(JOB, (Chunk(0, "image", 0, 0, 2, "images 1 to 2"),))
    storage.put(keys.job_spec(JOB), words.encode(Job(JOB, Spec(model="lanczos", scale=2.0), tuple(items), "")))
    storage.put(keys.plan(JOB), words.encode(plan))
    for item in items:
        storage.put(keys.source(JOB, item.n), png)
    ledger.forget(JOB)
    ledger.found(plan, 4, Control(), {}, [])
    plain = image.enhance_image

    def fragile(source: Any, result: str, *rest: Any) -> Any:
        if result == "1.png":
            raise RuntimeError("a library's own words")
        return plain(source, result, *rest)

    monkeypatch.setattr(image, "enhance_image", fragile)
    return Worker(settings)


def test_a_picture_is_given_up_after_its_second_failure_alone(worker: Worker) -> None:
    """A first attempt that was merely handed back is no failure: it leaves the picture both of its tries."""
    ledger, storage = worker.ledger, worker.storage
    lease = ledger.claim(JOB, 0, "somebody")[1]
    assert lease is not None
    ledger.release(lease, "the worker was told to end", counted=False)
    assert (worker.work(JOB, 0), ledger.tries(JOB, 0)) == ("handed back", 1)
    assert worker.work(JOB, 0) == "done"
    done = words.decode(storage.get(keys.done(JOB, 0)), Done, "done.json")
    assert [(f.item, f.name, f.reason) for f in done.failures] == [(1, "1.png", "RuntimeError: a library's own words")]
    assert [output.item for output in done.outputs] == [0]
