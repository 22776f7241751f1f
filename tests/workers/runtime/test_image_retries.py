"""An image on which a library fails: tried twice, then reported as failed while the others go on."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contract import keys
from contract.documents import decode, encode
from contract.errors import EnhanceError
from contract.job import Chunk, Control, Done, Item, Job, Plan, Spec
from contract.settings import Settings
from stores.ledger import Ledger
from stores.storage import Storage
from workers.images import image
from workers.runtime.heartbeat import SHUTDOWN
from workers.runtime.worker import Worker

JOB = "00000000000000c1"
WHOLE = image.enhance_image


@pytest.fixture
def worker(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker and a job of two images, the second of which raises in a library whenever it is enhanced."""
    storage, ledger = Storage(settings), Ledger(settings)
    data = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(data, "png")
    png = data.getvalue()
    sha256 = hashlib.sha256(png).hexdigest()
    items = [Item(n, "image", f"{n}.png", f"{n}.png", sha256, len(png), 64) for n in range(2)]
    plan = Plan(JOB, (Chunk(0, "image", 0, 0, 2, "images 1 to 2"),))
    storage.put(keys.job_spec(JOB), encode(Job(JOB, Spec(model="lanczos", scale=2.0), tuple(items), "")))
    storage.put(keys.plan(JOB), encode(plan))
    for item in items:
        storage.put(keys.source(JOB, item.n), png)
    storage.delete(keys.done(JOB, 0))
    ledger.forget(JOB)
    ledger.create(plan, 4, Control(), {}, [])

    def fragile(source: Any, result: str, *rest: Any) -> Any:
        if result == "1.png":
            raise RuntimeError("a library's message")
        return WHOLE(source, result, *rest)

    monkeypatch.setattr(image, "enhance_image", fragile)
    return Worker(settings)


def test_an_image_fails_alone_after_its_second_failure(worker: Worker) -> None:
    """A first attempt that was handed back is no failure: the image still has both of its tries."""
    ledger, storage = worker.ledger, worker.storage
    lease = ledger.claim(JOB, 0, "another worker")[1]
    assert lease is not None
    ledger.release(lease, SHUTDOWN, counted=False)
    assert (worker.work(JOB, 0), ledger.tries(JOB, 0)) == ("handed back", 1)
    assert worker.work(JOB, 0) == "done"
    done = decode(storage.get(keys.done(JOB, 0)), Done, "done.json")
    assert [(f.item, f.name, f.reason) for f in done.failures] == [(1, "1.png", "RuntimeError: a library's message")]
    assert [output.item for output in done.outputs] == [0]


def test_what_one_device_cannot_do_is_tried_by_another(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image's EnhanceError is no final failure at the first worker: the chunk goes out again, and is done elsewhere."""
    broken = [EnhanceError("only black comes out of this device")]

    def black(*args: Any) -> Any:
        if broken:
            raise broken.pop()
        return WHOLE(*args)

    monkeypatch.setattr(image, "enhance_image", black)
    assert (worker.work(JOB, 0), worker.ledger.tries(JOB, 0)) == ("handed back", 1)
    assert worker.work(JOB, 0) == "done"
    done = decode(worker.storage.get(keys.done(JOB, 0)), Done, "done.json")
    assert (done.failures, len(done.outputs)) == ((), 2)
