"""The embedded cluster keeps to itself, finds its data again, and leaves nobody behind however it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from contract.errors import StorageError, Unreachable
from contract.settings import Settings
from orchestrator.local import Cluster, attach, start, stop
from orchestrator.local.servers import Member
from orchestrator.local.state_folder import Folder, Life, Process, started
from orchestrator.local.supervisor import Order, Supervisor
from stores.storage import Storage

pytestmark = pytest.mark.usefixtures("_servers")  # skips where the servers' packages are missing


@pytest.fixture
def state() -> Iterator[Settings]:
    """Settings with a short state folder, as users have; whatever a failing test left there is ended."""
    with tempfile.TemporaryDirectory(prefix="respool-test-", ignore_cleanup_errors=True) as folder:
        settings = Settings(state=Path(folder) / "state")
        yield settings
        stop(settings)


def servers(settings: Settings, keep: bool = False) -> Cluster:
    """A cluster of servers alone: what these tests need, in one second."""
    return start(settings, workers=0, orchestrator=False, keep=keep)


def everybody(cluster: Cluster) -> list[int]:
    """Pids of all processes of a cluster, supervisor and watchdog included."""
    life = cluster.life
    assert life.supervisor
    assert life.watchdog
    return [p.pid for p in (*life.processes, life.supervisor, life.watchdog)]


def wait(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Whether `condition` came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def gone(pids: list[int]) -> bool:
    return not any(started(pid) for pid in pids)


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    """A cluster that tests only look at."""
    with (
        tempfile.TemporaryDirectory(prefix="respool-test-", ignore_cleanup_errors=True) as folder,
        start(Settings(state=Path(folder)), workers=0, orchestrator=False) as cluster,
    ):
        yield cluster


def test_cluster_json_names_role_pid_and_port_of_each_process(shared: Cluster) -> None:
    """Other programs find the servers through cluster.json, and its pids and ports are the real ones."""
    found = json.loads((shared.folder.path / "cluster.json").read_text())["processes"]
    assert [p["role"] for p in found] == ["redis", "s3"]
    for process in found:
        ports = {c.laddr.port for c in psutil.Process(process["pid"]).net_connections() if c.status == "LISTEN"}
        assert process["port"] in ports


def test_everything_listens_on_loopback_alone(shared: Cluster) -> None:
    """No port of any process of the cluster can be reached from another machine."""
    for process in shared.processes:
        listening = [c.laddr.ip for c in psutil.Process(process.pid).net_connections() if c.status == "LISTEN"]
        assert listening
        assert set(listening) == {"127.0.0.1"}


def test_the_state_folder_is_private(shared: Cluster) -> None:
    """Only this user may enter the folder, and the files with secrets are closed even within it."""
    assert stat.S_IMODE(shared.folder.path.stat().st_mode) == 0o700
    for name in ("credentials.json", "redis/redis.conf", "s3/s3.json", "s3/security.toml"):
        assert stat.S_IMODE((shared.folder.path / name).stat().st_mode) == 0o600, name


def test_no_secret_stands_on_a_command_line(shared: Cluster) -> None:
    """Process lists are public, so neither the Redis password nor the S3 keys are in one."""
    secrets = [shared.credentials.s3_secret_key, shared.credentials.redis_url.split("@")[0].split(":")[-1]]
    assert all(len(secret) >= 32 for secret in secrets)
    for pid in everybody(shared):
        line = " ".join(psutil.Process(pid).cmdline())
        assert not any(secret in line for secret in secrets)


def test_servers_refuse_whoever_has_no_credentials(shared: Cluster) -> None:
    """Redis without the password, S3 with wrong keys and SeaweedFS' own inner servers without a token are refused."""
    address = shared.credentials.redis_url.rpartition("@")[2]
    with Redis.from_url(f"redis://{address}") as client, pytest.raises(AuthenticationError):
        client.ping()
    with pytest.raises(Unreachable, match="refused the credentials"):
        Storage(replace(shared.settings, s3_secret_key="wrong")).ensure_bucket()
    storage = Storage(shared.settings)
    storage.put("secret/object", b"x" * 100_000)
    (s3,) = [p.pid for p in shared.processes if p.role == "s3"]
    refused = 0
    for connection in psutil.Process(s3).net_connections():
        if connection.status == "LISTEN":
            url = f"http://127.0.0.1:{connection.laddr.port}/buckets/{shared.settings.s3_bucket}/secret/object"
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    assert b"xxx" not in answer.read()
            except (urllib.error.URLError, ConnectionError, OSError) as error:
                refused += getattr(error, "code", 0) in (401, 403)
    assert refused >= 3  # S3, filer, volume


def test_a_second_start_uses_the_cluster_that_lives_there(shared: Cluster) -> None:
    """Two commands on one folder share one cluster."""
    with servers(replace(shared.settings, redis_url="", s3_endpoint="")) as second:
        assert not second.owned
        assert second.processes == shared.processes


def test_objects_and_keys_are_there_after_a_restart(state: Settings) -> None:
    """What was stored before an orderly end is found by the next start, which has new ports and new credentials."""
    with servers(state) as first:
        Storage(first.settings).put("kept", b"whole")
        with Redis.from_url(first.settings.redis_url) as client:
            client.set("kept", "too")
        before = first.credentials
    with servers(state) as second:
        assert second.credentials.s3_secret_key != before.s3_secret_key
        assert Storage(second.settings).get("kept") == b"whole"
        with Redis.from_url(second.settings.redis_url) as client:
            assert client.get("kept") == b"too"


def test_a_redis_that_cannot_read_its_data_starts_without_them(state: Settings) -> None:
    """Garbage in the append-only file, as a bad disk or another version's leaves: set aside, since S3 has the truth."""
    with servers(state) as cluster:
        with Redis.from_url(cluster.settings.redis_url) as raw:
            raw.set("a", "b")
        folder = cluster.folder.path / "redis"
    files = [path for path in folder.rglob("*.aof") if path.stat().st_size]
    assert files
    for path in files:
        path.write_bytes(b"no command of Redis\n" + path.read_bytes())
    with servers(state) as cluster, Redis.from_url(cluster.settings.redis_url) as raw:
        assert raw.dbsize() == 0
        assert list((folder / "aside").rglob("*.aof"))


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


def answers(cluster: Cluster) -> bool:
    try:
        with Redis.from_url(cluster.settings.redis_url) as client:
            client.ping()
        Storage(cluster.settings).ensure_bucket()
    except Exception:
        return False
    return True


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
    """A new watchdog is told of everybody, so that a later kill -9 of the supervisor still leaves no process."""
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


def test_a_cluster_lives_as_long_as_any_command_uses_it(state: Settings) -> None:
    """The command that started a cluster may end before one that joined it; the last one out turns off the light."""
    first = servers(state)
    second = attach(state)
    assert second
    pids = everybody(second)
    first.release()
    assert answers(second)
    second.release()
    assert wait(lambda: gone(pids))


def test_two_starts_at_once_make_one_cluster(state: Settings) -> None:
    """The folder's lock lets one of two simultaneous starts win; the other one uses what the first has started."""
    clusters: list[Cluster] = []
    threads = [threading.Thread(target=lambda: clusters.append(servers(state))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one, other = clusters
    assert one.processes == other.processes
    assert sorted([one.owned, other.owned]) == [False, True]
    pids = everybody(one)
    for cluster in clusters:
        cluster.release()
    assert wait(lambda: gone(pids))


def test_down_ends_a_kept_cluster_and_says_when_there_is_none(state: Settings) -> None:
    """`up` outlives its command, `down` ends it, and a second `down` finds nothing."""
    cluster = servers(state, keep=True)
    cluster.release()
    pids = everybody(cluster)
    assert answers(cluster)
    assert stop(state)
    assert gone(pids)
    assert not stop(state)


def test_a_stale_cluster_json_never_costs_a_stranger_its_life(state: Settings) -> None:
    """A pid of a crashed cluster that now belongs to another program is recognised by its start time and left alone."""
    folder = Folder(state.state)
    folder.make()
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as stranger:
        folder.write(folder.cluster, Life((Process("redis", stranger.pid, 1234, "another-life"),), ready=True))
        assert attach(state) is None
        assert not folder.cluster.exists()
        assert stranger.poll() is None


def test_what_a_killed_supervisor_really_left_is_ended(state: Settings) -> None:
    """A process of a crashed cluster that is still alive (pid and start time agree) is ended before a new start."""
    folder = Folder(state.state)
    folder.make()
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    with left:
        folder.write(folder.cluster, Life((Process("worker", left.pid, 0, started(left.pid)),), ready=True))
        assert attach(state) is None
        assert left.wait(10) == -signal.SIGKILL


def test_a_taken_port_is_no_reason_to_fail(state: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When somebody takes a chosen port before the server does, others are chosen."""
    from orchestrator.local import servers as module

    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen()
        real, calls = module.redis, []

        def first_on_a_taken_port(folder: Path, password: str) -> Member:
            calls.append(folder)
            if len(calls) == 1:
                monkeypatch.setattr(module, "free_ports", lambda _count, _grpc=False: [thief.getsockname()[1]])
                member = real(folder, password)
                monkeypatch.undo()
                monkeypatch.setattr(module, "redis", first_on_a_taken_port)
                return member
            return real(folder, password)

        monkeypatch.setattr(module, "redis", first_on_a_taken_port)
        report, (owner, ours) = tmp_path / "report", os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ours)
            folder = Folder(state.state)
            folder.make()
            Supervisor(folder, Order(state, 0, False, False, keep=False), owner, report.open("wb")).run()
            os._exit(0)
        assert wait(lambda: report.exists() and report.read_bytes() != b"")
        assert json.loads(report.read_text()) == {"ready": True}
        os.close(owner)
        os.close(ours)
        os.waitpid(child, 0)
