"""The commands do what the README says, on a real embedded cluster."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from contract.programs import Program, command_line
from contract.settings import Settings
from orchestrator.comparison.contact_sheet import PANEL
from orchestrator.local import Cluster
from testkit.command_line import lines_until, popen, size

Respool = Callable[..., subprocess.CompletedProcess[str]]


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


def test_an_ended_job_tells_the_next_how_long_it_takes(
    cluster: Cluster, respool: Respool, small_film: Path, tmp_path: Path
) -> None:
    """The first job of a kind has no expected time; a dry run of the next one has, and so has `submit`, but not at another scale."""
    job = [small_film, "--model", "lanczos", "--state", cluster.folder.path]
    first = respool("run", *job, "-s", "1.75", "-o", tmp_path / "a.mp4")
    assert "\ntime: unknown until a small job" in first.stderr
    later = respool("run", *job, "-s", "1.75", "-o", tmp_path / "b.mp4", "--crf", "30", "--dry-run")
    assert re.search(
        r"^time: about 0:\d\d for \w+ workers? \(1 past job\), plus reading and checks$", later.stderr, re.M
    )
    other = respool("run", *job, "-s", "1.8", "-o", tmp_path / "b.mp4", "--dry-run")
    assert "\ntime: unknown" in other.stderr
    submitted = respool("submit", *job, "-s", "1.75", "--crf", "31")
    assert "\ntime: about 0:" in submitted.stderr


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
        assert "stopping; the chunk at hand is handed back" in rest
        assert "the same command goes on with it" in rest
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
