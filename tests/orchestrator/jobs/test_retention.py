"""Objects that `respool gc` removes and keeps, on a real store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contract import keys
from contract.documents import encode
from contract.job import Control, Item, Job, Manifest, Spec
from contract.settings import Settings
from orchestrator.cli.main import call
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


_KILLED = """
import os, signal, sys
from pathlib import Path
from contract.settings import load
from stores.storage import Storage

sent = 0
def progress(count):
    global sent
    sent += count
    if sent > 90 << 20:
        os.kill(os.getpid(), signal.SIGKILL)

Storage(load()).put_file(sys.argv[1], Path(sys.argv[2]), progress=progress)
"""


@pytest.mark.slow
def test_a_killed_upload_is_found_and_aborted(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`gc` lists the parts that a killed upload left, by its age, and --delete removes them; running and finished uploads stay."""
    storage, key = Storage(settings), keys.source(HALF, 7)
    film = tmp_path / "film"
    with film.open("wb") as stream:
        stream.truncate(128 << 20)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    killed = subprocess.run([sys.executable, "-c", _KILLED, key, film], env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    storage.put(keys.source(HALF, 8), b"whole")
    assert not storage.exists(key)
    assert key not in {found for found, _ in storage.list("")}
    (upload,) = storage.uploads("jobs/")
    assert upload.key == key
    assert storage.upload_size(upload) >= 16 << 20

    def collected(*options: str) -> str:
        assert call(["gc", *options]) == 0
        return capsys.readouterr().out

    assert key not in collected()
    assert key not in collected("--delete")  # it may be at work still
    assert key in collected("--upload-hours", "0")
    assert list(storage.uploads("jobs/")) == [upload]
    assert key in collected("--upload-hours", "0", "--delete")
    assert list(storage.uploads("jobs/")) == []
    assert storage.upload_size(upload) == 0
    storage.abort(upload)  # ended meanwhile: no error
    assert storage.exists(keys.source(HALF, 8))
