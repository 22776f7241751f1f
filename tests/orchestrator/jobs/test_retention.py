"""Objects that `respool gc` removes and keeps, on a real store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from contract import keys
from contract.documents import encode
from contract.job import Control, Item, Job, Manifest, Spec
from contract.settings import Settings
from orchestrator.jobs import retention
from stores.storage import Storage

DONE, RUNNING, CANCELLED, HALF = (f"{n:016x}" for n in range(4))


def test_only_what_nobody_needs_goes(settings: Settings) -> None:
    """Of ended jobs inputs go and results stay; running jobs and young ones are never touched."""
    storage = Storage(settings)
    now = datetime.now(UTC)
    for job in (DONE, RUNNING, CANCELLED, HALF):
        storage.put(keys.source(job, 0), b"film")
        if job != HALF:
            item = Item(0, "video", "a.mp4", "a.mp4", "0" * 64, 4)
            whole = Job(job, Spec(model="identity"), (item,), now.isoformat())
            storage.put(keys.job_spec(job), encode(whole))
    storage.put(keys.result_file(DONE, "a.mp4"), b"result")
    storage.put(keys.manifest(DONE), encode(Manifest(DONE, "done", (), finished=now.isoformat())))
    storage.put(keys.control(CANCELLED), encode(Control(cancelled=True)))

    assert list(retention.find(storage, timedelta(days=1), results=False, now=now)) == []
    late = now + timedelta(days=2)
    found = {s.job: s for s in retention.find(storage, timedelta(days=1), results=False, now=late)}
    assert set(found) == {DONE, CANCELLED, HALF}
    for sweep in found.values():
        retention.remove(storage, sweep)
    left = {key for job in (DONE, RUNNING, CANCELLED, HALF) for key, _ in storage.list(keys.job_prefix(job))}
    assert left == {
        keys.job_spec(DONE),
        keys.control(DONE),
        keys.manifest(DONE),
        keys.result_file(DONE, "a.mp4"),
        keys.source(RUNNING, 0),
        keys.job_spec(RUNNING),
    }
    (rest,) = retention.find(storage, timedelta(days=1), results=True, now=late)
    assert rest.job == DONE
    assert keys.result_file(DONE, "a.mp4") in rest.objects
