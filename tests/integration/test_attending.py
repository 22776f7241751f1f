"""`run` is about its own job: one that it leaves unfinished waits for it, and takes no worker from others."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from testkit.command_line import lines_until, popen, size

Respool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_job_whose_command_ended_is_parked(
    end: signal.Signals, respool: Respool, small_film: Path, tmp_path: Path, nobody_left: Callable[[], list[str]]
) -> None:
    """Stopped or killed, the first job stands still while the second is made, and its own command finishes it."""
    state = ["--state", tmp_path / "state"]
    first = ("run", small_film, "-o", tmp_path / "first.mkv", "--model", "lanczos", "-s", "2", "--chunk-frames", "2")
    second = ("run", small_film, "-o", tmp_path / "second.mkv", "--model", "lanczos", "-s", "1.5")
    with popen(*first, *state) as run:
        lines_until(run.stderr, "running:")
        run.send_signal(end)
        run.wait(60)
        said = run.stderr.read()
    deadline = time.monotonic() + 120
    while left := nobody_left():
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    done = respool(*second, *state)
    assert done.returncode == 0, done.stderr
    assert size(tmp_path / "second.mkv") == (24, 96, 72)
    told = said if end is signal.SIGINT else done.stderr
    found = re.search(r"job ([0-9a-f]{16}) (?:of a command that was killed )?is parked", told)
    assert found, told
    assert list((tmp_path / "state" / "attended").iterdir()) == []
    try:
        assert respool("up", "--workers", "0", *state).returncode == 0
        status = json.loads(respool("status", found[1], "--json", *state).stdout)
        assert status["state"] == "paused"
    finally:
        respool("down", *state)
    again = respool(*first, *state)
    assert again.returncode == 0, again.stderr
    assert size(tmp_path / "first.mkv") == (24, 128, 96)


def test_cancel_works_when_the_cluster_has_ended(respool: Respool, small_film: Path, tmp_path: Path) -> None:
    """The advice after Ctrl-C holds: the job can be given up although its cluster ended with the command."""
    state = ["--state", tmp_path / "state"]
    args = ("run", small_film, "-o", tmp_path / "out.mkv", "--model", "lanczos", "-s", "2", "--chunk-frames", "2")
    with popen(*args, *state) as run:
        lines_until(run.stderr, "running:")
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 4
        advised = re.search(r"`respool cancel ([0-9a-f]{16})`", run.stderr.read())
    assert advised
    assert respool("cancel", advised[1], *state).returncode == 0
    try:
        assert respool("up", "--workers", "0", *state).returncode == 0
        assert json.loads(respool("status", advised[1], "--json", *state).stdout)["state"] == "cancelled"
    finally:
        respool("down", *state)
