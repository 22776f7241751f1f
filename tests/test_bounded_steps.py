"""A measurement's steps survive each other, and are bounded in time and in what they say."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from pathlib import Path

from testkit.bounded_steps import Step, run_steps

ROOT = Path(__file__).parents[1]


def step(name: str, code: str, limit: float = 30, missing: str = "") -> Step:
    return Step(name, (sys.executable, "-c", code), limit, missing)


def test_every_step_is_tried(tmp_path: Path) -> None:
    """Failed, stopped, missing and crashed steps are named, and those after them run."""
    waits = "import threading\nprint('SUMMARY half')\nthreading.Event().wait()"
    said = run_steps(
        [
            step("fails", "raise ValueError('broken')"),
            step("waits", waits, 2),
            step("missing", "", missing="no card"),
            step("dies", "import os\nos.abort()"),
            step("speaks", "print('noise')\nprint('SUMMARY first')\nprint('SUMMARY last')"),
        ],
        tmp_path,
        60,
        1000,
    ).splitlines()
    assert [line.partition(":")[0] for line in said] == ["fails", "waits", "missing", "dies", "speaks"]
    assert "failed, status 1; ValueError: broken" in said[0]
    assert said[1].endswith("stopped after 2 s; half")
    assert said[2] == "missing: skipped, no card"
    assert "failed, status -6" in said[3]
    assert said[4].endswith(" last")
    assert (tmp_path / "speaks.txt").read_text().startswith("noise\n")


def test_what_a_step_started_ends_with_it(tmp_path: Path) -> None:
    """A step that is stopped leaves no process behind."""
    code = (
        "import subprocess, sys, threading\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import threading; threading.Event().wait()'])\n"
        "print('SUMMARY', child.pid, flush=True)\nthreading.Event().wait()"
    )
    said = run_steps([step("parent", code, 3)], tmp_path, 60, 1000)
    with contextlib.suppress(ProcessLookupError):  # it has ended, and nothing of it is left
        descriptor = os.pidfd_open(int(said.split()[-1]))
        ended, _, _ = select.select([descriptor], [], [], 30)
        os.close(descriptor)
        assert ended


def test_time_and_words_are_bounded(tmp_path: Path) -> None:
    """Steps after the time is spent are skipped by name, and long sentences are cut."""
    said = run_steps([step("one", "print('SUMMARY ' + 'x' * 5000)"), step("two", "")], tmp_path, 20, 200)
    assert len(said) <= 200
    late = run_steps([step("one", "import threading\nthreading.Event().wait()"), step("two", "")], tmp_path, 1, 200)
    assert late.splitlines()[1] == "two: skipped, no time is left"


def test_a_session_without_a_card(tmp_path: Path) -> None:
    """The script for a card's first minutes runs on any machine, and names the steps that it skips."""
    environment = os.environ | {"PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": "", "OUT": str(tmp_path)}
    command = [str(ROOT / "benchmarks" / "gpu_session.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) <= 2000
    lines = done.stdout.splitlines()
    assert lines[0].startswith("machine: (")
    assert "no card; torch" in lines[0]
    skipped = [line.partition(":")[0] for line in lines if line.endswith("skipped, no CUDA device here")]
    assert skipped == ["peaks", "pictures", "networks", "planes", "layers", "film", "tests"]
    assert (tmp_path / "summary.txt").read_text() == done.stdout
