"""The embedded cluster leaves no process and loses no object, whichever of its processes is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from contract.errors import StorageError, Unreachable
from contract.settings import Settings
from orchestrator.local import attach
from orchestrator.local.state_folder import Folder, Life, Process, started
from stores.storage import Storage
from testkit.local_cluster import answers, everybody, gone, servers, wait

pytestmark = pytest.mark.usefixtures("_servers")  # skips where the servers' packages are missing


def test_kill_9_of_everything_at_once_loses_no_stored_object(state: Settings) -> None:
    """A power cut for all processes: the next start forgets the stale cluster.json and finds every object."""
    cluster = servers(state, keep=True)
    storage = Storage(cluster.settings)
    for n in range(20):
        storage.put(f"kept/{n}", bytes([n]) * 10_000)
    pids, temporary = everybody(cluster), Path(cluster.life.temporary)
    assert temporary.is_dir()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert wait(lambda: gone(pids))
    cluster.release()
    assert (cluster.folder.path / "cluster.json").exists()
    with servers(state) as again:
        assert again.owned
        assert not temporary.exists()
        stored = Storage(again.settings)
        assert all(stored.get(f"kept/{n}") == bytes([n]) * 10_000 for n in range(20))


def test_a_crashed_server_comes_back_where_it_was(state: Settings) -> None:
    """After kill -9 of Redis and S3 clients find them again under the same address and with their data."""
    with servers(state) as cluster:
        storage = Storage(cluster.settings)
        storage.put("kept", b"1")
        before = cluster.processes
        for process in before:
            os.kill(process.pid, signal.SIGKILL)
        assert wait(lambda: {p.role for p in cluster.processes if p not in before} == {"redis", "s3"})
        assert [p.port for p in cluster.processes] == [p.port for p in before]
        assert wait(lambda: answers(cluster))
        assert wait(lambda: kept(storage) == b"1")  # SeaweedFS knows its buckets before it finds their volumes again


def kept(storage: Storage) -> bytes | None:
    try:
        return storage.get("kept")
    except (StorageError, Unreachable):
        return None


def test_kill_9_of_the_supervisor_leaves_no_process(state: Settings) -> None:
    """The watchdog and the kernel end everybody when the supervisor cannot; the temporary folder goes too."""
    cluster = servers(state, keep=True)
    pids = everybody(cluster)
    assert cluster.life.supervisor
    (s3,) = [p.pid for p in cluster.processes if p.role == "s3"]
    temporary = Path(psutil.Process(s3).environ()["TMPDIR"])
    assert temporary.exists()
    os.kill(cluster.life.supervisor.pid, signal.SIGKILL)
    assert wait(lambda: gone(pids))
    assert not temporary.exists()
    cluster.release()
    assert attach(state) is None
    assert not (cluster.folder.path / "cluster.json").exists()


def test_kill_9_of_the_watchdog_costs_nothing(state: Settings) -> None:
    """A new watchdog learns of every process, so that a later kill -9 of the supervisor still leaves none."""
    cluster = servers(state, keep=True)
    first = cluster.life.watchdog
    assert first
    os.kill(first.pid, signal.SIGKILL)
    assert wait(lambda: cluster.life.watchdog not in (None, first))
    pids = everybody(cluster)
    assert cluster.life.supervisor
    os.kill(cluster.life.supervisor.pid, signal.SIGKILL)
    assert wait(lambda: gone(pids))
    cluster.release()


def test_kill_9_of_the_command_leaves_no_process(state: Settings) -> None:
    """A cluster that was started for one command's time ends with that command, however it ends."""
    code = (
        "import sys; from pathlib import Path; from contract.settings import Settings; from orchestrator.local import start\n"
        "c = start(Settings(state=Path(sys.argv[1])), workers=0, orchestrator=False); print('up', flush=True); sys.stdin.read()"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", code, str(state.state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with command:
        assert command.stdout
        assert command.stdout.readline() == "up\n"
        cluster = attach(state)
        assert cluster
        pids = everybody(cluster)
        cluster.release()
        command.kill()
    assert wait(lambda: gone(pids))
    assert attach(state) is None


def test_what_a_killed_supervisor_really_left_is_ended(state: Settings) -> None:
    """A process of a crashed cluster that is still alive (pid and start time agree) is ended before a new start."""
    folder = Folder(state.state)
    folder.make()
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    with left:
        folder.write(folder.cluster, Life((Process("worker", left.pid, 0, started(left.pid)),), ready=True))
        assert attach(state) is None
        assert left.wait(10) == -signal.SIGKILL
