"""The commands do what the README says, on a real embedded cluster."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from contract.programs import Program, command_line
from contract.settings import Settings
from orchestrator.comparison.contact_sheet import PANEL
from orchestrator.local import Cluster, start
from orchestrator.local.servers import Member
from orchestrator.local.state_folder import Folder

Respool = Callable[..., subprocess.CompletedProcess[str]]


def size(path: Path) -> tuple[int, int, int]:
    """(frames, width, height) of a film."""
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        return sum(1 for _ in film.decode(stream)), stream.width, stream.height


def popen(*args: object, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command_line(Program.COMMAND_LINE, *args),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores Ctrl-C, and so would all that the tests start in one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def lines_until(stream: object, word: str) -> list[str]:
    """Lines of a stream up to the first with `word` in it."""
    lines = []
    for line in stream:
        lines.append(line)
        if word in line:
            return lines
    raise AssertionError(f"{word!r} never came: {lines}")


def test_one_source_and_a_film_suffix_give_that_file(
    cluster: Cluster, respool: Respool, small_film: Path, tmp_path: Path
) -> None:
    """OUT is the file itself, in the container that its suffix names; its path is all that stdout says."""
    out = tmp_path / "new" / "restored.mkv"
    done = respool("run", small_film, "-o", out, "--model", "lanczos", "-s", "1.5", "--state", cluster.folder.path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}\n"
    assert size(out) == (24, 96, 72)
    with av.open(str(out)) as film:
        assert film.format.name.startswith("matroska")
        assert len(film.streams.audio) == 1
    assert [p.name for p in out.parent.iterdir()] == ["restored.mkv"], "no partial file stays"
    assert any(line.startswith("done: 24/24 frames") for line in done.stderr.splitlines())


def test_folders_are_mirrored(cluster: Cluster, respool: Respool, small_film: Path, tmp_path: Path) -> None:
    """A tree of films and images comes back as the same tree; what was left out is noted."""
    tree, out = tmp_path / "tree", tmp_path / "out"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "film.mp4").write_bytes(small_film.read_bytes())
    (tree / "a" / "b" / "notes.txt").write_text("by the river")
    image = av.VideoFrame.from_ndarray(np.full((20, 30, 3), 90, np.uint8), format="rgb24")
    image.to_image().save(tree / "a" / "b" / "grey.png")
    done = respool("run", tree, "-o", out, "--model", "lanczos", "-s", "2", "--state", cluster.folder.path)
    assert done.returncode == 0, done.stderr
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == [
        "a/b/grey.png",
        "a/film.mp4",
    ]
    assert size(out / "a" / "film.mp4") == (24, 128, 96)
    assert "notes.txt" in done.stderr
    assert done.stdout == f"2 of 2 files in {out}\n"


def test_submit_status_watch_and_fetch(cluster: Cluster, respool: Respool, small_film: Path, tmp_path: Path) -> None:
    """A job's way through the single commands: one id on stdout, stable JSON, an end with 0, and the file."""
    state = ["--state", cluster.folder.path]
    job = [small_film, "--model", "lanczos", "-s", "2.5", "--chunk-frames", "12"]
    first = respool("submit", *job, *state)
    assert re.fullmatch(r"[0-9a-f]{16}\n", first.stdout), first.stderr
    again = respool("submit", *job, *state)
    assert again.stdout == first.stdout, "the same job twice is one job"
    name = first.stdout.strip()
    assert respool("watch", name, *state).returncode == 0
    status = json.loads(respool("status", name, "--json", *state).stdout)
    assert status["id"] == name
    assert status["state"] == "done"
    assert status["items"] == 1
    chunks = status["chunks"]
    assert chunks == {"total": chunks["total"], "done": chunks["total"], "failed": 0, "running": 0}
    assert chunks["total"] >= 2, "24 frames in chunks of at most 12"
    assert status["frames"] == {"total": 24, "done": 24}
    assert status["damaged"] == []
    assert {"fps", "eta_s"} <= status.keys()
    table = respool("status", *state).stdout.splitlines()
    assert any(name in line and "done" in line and "film.mp4" in line for line in table)
    out = tmp_path / "out.mp4"
    assert respool("fetch", name, "-o", out, *state).stdout == f"{out}\n"
    assert size(out) == (24, 160, 120)


def test_pause_resume_cancel_and_retry(
    settings: Settings, respool_here: Respool, small_film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paused job waits, a cancelled one ends its watcher with 4 and is opened by retry alone.

    Nobody works here, so that the job stands still whatever the machine does meanwhile.
    """
    for name in ("redis_url", "s3_endpoint", "s3_access_key", "s3_secret_key", "s3_bucket"):
        monkeypatch.setenv(f"RESPOOL_{name.upper()}", getattr(settings, name))

    def state() -> str:
        return str(json.loads(respool_here("status", job, "--json").stdout)["state"])

    job = respool_here("submit", small_film, "--model", "lanczos").stdout.strip()
    assert state() == "ingesting"
    assert respool_here("pause", job).returncode == 0
    assert state() == "paused"
    assert respool_here("resume", job).returncode == 0
    assert state() == "ingesting"
    assert respool_here("cancel", job).returncode == 0
    watched = respool_here("watch", job)
    assert watched.returncode == 4
    assert f"respool retry {job}" in watched.stderr
    assert respool_here("resume", job).returncode == 2
    assert respool_here("retry", job).returncode == 0
    assert state() == "ingesting"


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_run_resumes_after_any_interruption(
    end: signal.Signals, respool: Respool, small_film: Path, tmp_path: Path, nobody_left: Callable[[], list[str]]
) -> None:
    """Ctrl-C or kill -9 in mid-job leave no process and no output; the same command then finishes the job."""
    out, state = tmp_path / "out.mkv", tmp_path / "state"
    args = ("run", small_film, "-o", out, "--model", "lanczos", "-s", "2", "--chunk-frames", "2", "--state", state)
    with popen(*args) as run:
        lines_until(run.stderr, "running:")
        run.send_signal(end)
        code, rest = run.wait(60), run.stderr.read()
    if end is signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        assert code == 4, rest
        assert "the same command resumes it" in rest
        assert "Traceback" not in rest
        assert nobody_left() == []
    deadline = time.monotonic() + 120
    while left := nobody_left():
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert not out.exists()
    done = respool(*args)
    assert done.returncode == 0, done.stderr
    assert size(out) == (24, 128, 96)
    assert nobody_left() == []


def test_a_terminal_gets_a_live_bar(cluster: Cluster, small_film: Path, tmp_path: Path) -> None:
    """On a terminal frames and workers are drawn in place; nothing of it reaches stdout."""
    ours, theirs = pty.openpty()
    args = (
        "run",
        small_film,
        "-o",
        tmp_path / "out.mp4",
        "--model",
        "lanczos",
        "-s",
        "1.25",
        "--state",
        cluster.folder.path,
    )
    with subprocess.Popen(
        command_line(Program.COMMAND_LINE, *args),
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    ) as run:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux' way to say that the other end of a terminal is closed
                break
            if not part:
                break
            shown += part
        os.close(ours)
        assert run.stdout is not None
        assert run.stdout.read().decode() == f"{tmp_path / 'out.mp4'}\n"
    assert run.returncode == 0, shown
    assert re.search(rb"\d+/24 frames", shown)
    assert b"1 worker" in shown
    assert b"\x1b[" in shown


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
        assert "with the workers it has" in run.stderr
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


def test_preview_and_probe(cluster: Cluster, respool: Respool, small_film: Path, tmp_path: Path) -> None:
    """`probe` prints frames, rate and plan as JSON; `preview` writes one sheet with a row for each frame."""
    facts = json.loads(respool("probe", small_film, "--json", "--model", "lanczos", "-s", "2").stdout)
    assert facts[0]["frames"] == 24
    assert facts[0]["rate"] == "24"
    assert facts[0]["plan"]["width"] == 128
    sheet = tmp_path / "sheet.png"
    done = respool(
        "preview",
        small_film,
        "--frames",
        "2",
        "-o",
        sheet,
        "--model",
        "lanczos",
        "-s",
        "2",
        "--state",
        cluster.folder.path,
    )
    assert done.returncode == 0, done.stderr
    with av.open(str(sheet)) as image:
        (frame,) = image.decode(video=0)
    assert frame.width > 3 * PANEL
    assert frame.height > 4 * 96


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
