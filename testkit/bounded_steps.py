"""Steps of a measurement that must all be tried in limited time, whose reader sees a few lines of each."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SUMMARY = "SUMMARY "
"""Start of a step's line that the reader sees; the last counts, so that a step that is stopped has said what it knows."""


@dataclass(frozen=True)
class Step:
    """A command that may take `limit` seconds. `missing` is why it cannot run here, if it cannot."""

    name: str
    command: tuple[str, ...]
    limit: float
    missing: str = ""


def run_steps(steps: Sequence[Step], folder: Path, seconds: float, characters: int) -> str:
    """Run `steps` in order, whatever becomes of each, in `seconds` altogether; return at most `characters` about them.

    All that a step prints is in `folder`/NAME.txt. Steps for which no time is left are named, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + seconds
    each = characters // len(steps)
    lines = []
    for step in steps:
        path = folder / f"{step.name}.txt"
        limit = min(step.limit, ends - time.monotonic())
        if step.missing:
            said = f"skipped, {step.missing}"
        elif limit <= 0:
            said = "skipped, no time is left"
        else:
            said = _run(step, path, limit)
        lines.append(f"{step.name}: {said}"[: each - 1])
    return "\n".join(lines)


def _run(step: Step, path: Path, limit: float) -> str:
    began = time.monotonic()
    with path.open("wb") as out:
        # A session of its own, so that what the step started ends with it.
        process = subprocess.Popen(
            step.command,
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},  # so that a step that is stopped leaves what it printed
        )
        try:
            process.wait(limit)
            ended = "" if process.returncode == 0 else f"failed, status {process.returncode}; "
        except subprocess.TimeoutExpired:
            ended = f"stopped after {limit:.0f} s; "
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    lines = path.read_text(errors="replace").splitlines()
    said = [line.removeprefix(SUMMARY) for line in lines if line.startswith(SUMMARY)]
    if ended.startswith("failed") and lines:
        ended += f"{lines[-1].strip()[:80]}; "
    return f"({time.monotonic() - began:.0f} s) {ended}{said[-1] if said else ''}"
