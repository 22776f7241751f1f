"""Commands and the processes of the embedded cluster: they keep it, end it, and look after it."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from contract.settings import Settings
from orchestrator.local import Cluster, start
from orchestrator.local.servers import Member
from orchestrator.local.state_folder import Folder
from testkit.command_line import popen, size

Respool = Callable[..., subprocess.CompletedProcess[str]]


def test_up_keeps_a_cluster_that_run_uses_and_down_ends(
    respool: Respool, small_film: Path, tmp_path: Path, nobody_left: Callable[[], list[str]]
) -> None:
    """`up` lists its processes and stays, `run` leaves it alive, `down` leaves no process, pool processes included."""
    state = ["--state", tmp_path / "state"]
    try:
        up = respool("up", "--workers", "1", *state)
        assert [line.split()[0] for line in up.stdout.splitlines()] == ["redis", "s3", "orchestrator", "worker"], (
            up.stderr
        )
        out = tmp_path / "out.mp4"
        run = respool("run", small_film, "-o", out, "--model", "identity", "--workers", "3", *state)
        assert run.returncode == 0, run.stderr
        assert "with its present workers" in run.stderr
        again = respool("up", *state)
        assert again.stdout == up.stdout
        assert "already" in again.stderr
        assert len(nobody_left()) >= 6
    finally:
        down = respool("down", *state)
    assert down.returncode == 0
    assert nobody_left() == []
    assert "no cluster runs" in respool("down", *state).stderr


def test_ctrl_c_while_the_servers_start_leaves_nobody(
    tmp_path: Path, small_film: Path, nobody_left: Callable[[], list[str]]
) -> None:
    """Interrupted before the cluster is even ready, `run` still ends only when all of it is gone."""
    state = tmp_path / "state"
    with popen("run", small_film, "-o", tmp_path / "out.mp4", "--model", "identity", "--state", state) as run:
        while not (state / "cluster.json").exists():
            assert run.poll() is None
            time.sleep(0.005)
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 4, run.stderr.read()
    assert nobody_left() == []


def test_doctor_finds_a_healthy_cluster_healthy(cluster: Cluster, respool: Respool) -> None:
    """Conditional PUT, eviction policy and clocks of the embedded servers are what Respool needs."""
    done = respool("doctor", "--json", "--state", cluster.folder.path)
    found = {finding["what"]: finding["verdict"] for finding in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    for what in ("redis", "redis eviction", "redis persistence", "clocks", "s3", "s3 conditional put", "cluster"):
        assert found[what] == "ok", what


def test_flower_asks_for_a_login() -> None:
    """`up --flower` serves Flower on loopback: 401 without the random password, 200 with it."""
    with tempfile.TemporaryDirectory(prefix="respool-test-", ignore_cleanup_errors=True) as folder:
        settings = Settings(state=Path(folder) / "state")
        with start(settings, workers=0, orchestrator=False, flower=True) as cluster:
            login = cluster.credentials
            assert [p.role for p in cluster.processes] == ["redis", "s3", "flower"]
            request = urllib.request.Request(login.flower_url)
            deadline = time.monotonic() + 60
            while (code := status_of(request)) == 0:
                assert time.monotonic() < deadline, (cluster.folder.logs / "flower.log").read_text()
                time.sleep(0.1)
            assert code == 401
            token = base64.b64encode(f"{login.flower_user}:{login.flower_password}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
            assert status_of(request) == 200


def status_of(request: urllib.request.Request) -> int:
    """The HTTP status of an answer; 0 while nobody answers."""
    try:
        with urllib.request.urlopen(request, timeout=10) as page:
            return int(page.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except urllib.error.URLError:
        return 0


def test_a_worker_that_cannot_start_is_no_endless_wait(
    respool: Respool, small_film: Path, tmp_path: Path, nobody_left: Callable[[], list[str]]
) -> None:
    """Workers that crash at once end `run` with the last line of their log, not with a bar that stands still."""
    out = tmp_path / "out.mp4"
    broken = {"RESPOOL_LEASE_TTL_S": "30", "PYTHONPATH": str(tmp_path)}
    (tmp_path / "celery.py").write_text("raise RuntimeError('no celery today')\n")
    done = respool("run", small_film, "-o", out, "--model", "lanczos", "--state", tmp_path / "state", env=broken)
    assert done.returncode == 1, done.stderr
    assert "no celery today" in done.stderr.splitlines()[-1]
    assert not out.exists()
    assert nobody_left() == []
    assert Folder(tmp_path / "state").life() is None


def test_members_are_told_their_secrets_by_environment_alone() -> None:
    """No member of the cluster gets a password on its command line, where everybody could read it."""
    from dataclasses import replace

    from orchestrator.local import process_specs

    settings = replace(Settings(), redis_url="redis://:geheim@h/0", s3_secret_key="geheim")
    made: list[Member] = [
        process_specs.orchestrator(settings),
        process_specs.worker(settings, 0, 1),
        process_specs.flower(settings, "respool", "geheim"),
    ]
    assert not any("geheim" in word for member in made for word in member.argv)


def test_nothing_is_imported_from_the_folder_of_the_sources(small_film: Path, tmp_path: Path) -> None:
    """Archives hold files of every name: an av.py beside the film is a file, not a module for any of our processes."""
    place, mark = tmp_path / "archive", tmp_path / "mark"
    place.mkdir()
    for name in (
        "av",
        "billiard",
        "boto3",
        "celery",
        "contract",
        "msgspec",
        "numpy",
        "orchestrator",
        "psutil",
        "redis",
        "workers",
    ):
        (place / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})\nraise SystemExit(9)\n")
    respool = Path(sys.executable).with_name("respool")
    with tempfile.TemporaryDirectory(prefix="respool-test-") as state:
        done = subprocess.run(
            [respool, "run", small_film, "-o", tmp_path / "out.mkv", "--model", "lanczos", "-s", "1", "--state", state],
            cwd=place,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert not mark.exists(), mark.read_text()
    assert done.returncode == 0, done.stderr
    assert size(tmp_path / "out.mkv")[0] == 24
