"""The embedded cluster keeps to itself, finds its data again, and leaves nobody behind however it ends."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from contract.errors import Unreachable
from contract.settings import Settings
from orchestrator.local import Cluster, attach, start, stop
from orchestrator.local.servers import Member
from orchestrator.local.state_folder import Folder, Life, Process
from orchestrator.local.supervisor import Order, Supervisor
from stores.storage import Storage
from testkit.local_cluster import answers, everybody, gone, servers, wait

pytestmark = pytest.mark.usefixtures("_servers")  # skips where the servers' packages are missing


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


def test_servers_refuse_clients_without_credentials(shared: Cluster) -> None:
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
    """Objects and keys stored before an orderly end are there after the next start, with new ports and new credentials."""
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
