"""Seconds until a stop frees the worker: `python -m benchmarks.speed.stopping [--rounds N]`.

Each round measures, through the real command line on an embedded cluster of one worker: the first frame of a lone small film;
Ctrl-C inside a slow frame (RealESRGAN_x4plus on 640x480), from the signal to the command's end; the first frame of the small film after
that; and `respool cancel` inside a slow frame, from the command's start, and from its word in S3, to the moment at which the worker has no chunk.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import msgspec

from contract.programs import Program, command_line
from contract.settings import Settings
from orchestrator.job_store import Records
from orchestrator.local import start
from stores.ledger import Ledger
from stores.storage import Storage
from testkit.command_line import lines_until, popen
from testkit.natural_clips import make_moving
from testkit.processes import until

ROWS = (
    "first frame of a lone job",
    "Ctrl-C inside a slow frame, to the command's end",
    "first frame of the next job",
    "cancel inside a slow frame, to a free worker",
    "the same, from the cancel's effect",
)
_SLOW = ("-m", "RealESRGAN_x4plus", "-s", "4")
_QUICK = ("-m", "realesr-animevideov3", "-s", "4", "--chunk-frames", "2")


def main() -> None:
    """Measure and print a table: median, least and most of each row, in seconds."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.stopping", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[float]] = {row: [] for row in ROWS}
    for n in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="rs-") as name:
            folder = Path(name)
            slow = make_moving(folder / "slow.mp4", 6 + n, (640, 480))
            quick = make_moving(folder / "quick.mp4", 48 + n, (320, 240))
            state = folder / "state"
            found[ROWS[0]].append(first_frame(quick, folder / "lone.mkv", state))
            found[ROWS[1]].append(interrupted(slow, folder / "slow.mkv", state))
            found[ROWS[2]].append(first_frame(quick, folder / "next.mkv", state))
            for row, took in zip(ROWS[3:], cancelled(slow, folder / "other"), strict=True):
                found[row].append(took)
    print(
        f"{options.rounds} rounds, load at the end {os.getloadavg()[0]:.1f}\n\n| | median, s | least | most |\n| --- | --- | --- | --- |"
    )
    for row, seconds in found.items():
        print(f"| {row} | {median(seconds):.1f} | {min(seconds):.1f} | {max(seconds):.1f} |")


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """End a command that is still running behind the block."""
    with process:
        try:
            yield process
        finally:
            process.terminate()


def first_frame(film: Path, out: Path, state: Path) -> float:
    """Return the seconds from the start of `respool run` to the first frame that its events tell of; let it end."""
    began = time.monotonic()
    with ended(popen("run", film, "-o", out, "--json", *_QUICK, "--state", state)) as run:
        assert run.stdout is not None
        told: list[str] = []
        for line in run.stdout:
            told.append(line)
            event = msgspec.json.decode(line)
            if event["event"] == "job" and event["frames"]["done"]:
                took = time.monotonic() - began
                break
        else:
            raise AssertionError(f"no frame was told of in {''.join(told)}")
        run.stdout.read()
        assert run.wait() == 0
    out.unlink()
    return took


def interrupted(film: Path, out: Path, state: Path) -> float:
    """Return the seconds from Ctrl-C inside the first frame to the end of `respool run`."""
    with ended(popen("run", film, "-o", out, *_SLOW, "--state", state)) as run:
        lines_until(run.stderr, "running:")
        began = time.monotonic()
        run.send_signal(signal.SIGINT)
        assert run.stderr is not None
        run.stderr.read()
        assert run.wait() == 4
        return time.monotonic() - began


def cancelled(film: Path, state: Path) -> tuple[float, float]:
    """Return the seconds from the start of `respool cancel`, and from its effect, to the moment at which the worker has no chunk."""
    with start(replace(Settings(), state=state), workers=1) as cluster:
        ledger, records = Ledger(cluster.settings), Records(Storage(cluster.settings))
        submitted = subprocess.run(
            command_line(Program.COMMAND_LINE, "submit", str(film), *_SLOW, "--state", str(state)),
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        job = submitted.stdout.strip()
        until(lambda: any(w.get("job") == job and w.get("model") for w in ledger.workers().values()), "a frame in hand")
        began = time.monotonic()
        with ended(popen("cancel", job, "--state", state)) as command:
            until(lambda: records.control(job).cancelled, "the cancel's effect")
            effect = time.monotonic()
            until(lambda: not any(w.get("job") for w in ledger.workers().values()), "a free worker")
            free = time.monotonic()
            assert command.wait() == 0
        return free - began, free - effect


if __name__ == "__main__":
    main()
