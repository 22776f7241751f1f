"""One film through one command, from outside: ``python -m benchmarks.first_light [--size WxH] [--frames N] [--model M] [-s S]``.

Starts an embedded cluster with one worker, runs `respool run` on a film made for it, and prints how long the first chunk
took from its first frame to its commit, frames a second, and the peak memory (VmHWM) of every process. Linux only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import psutil

from benchmarks.moving import make_moving
from contract import settings
from contract.storage import Storage
from orchestrator.local import start
from orchestrator.records import Records

PAUSE_S = 0.1


class Memory:
    """Peak resident memory of processes, by id, as the kernel counts it."""

    def __init__(self) -> None:
        self.seen: dict[int, tuple[str, int]] = {}

    def look(self, roots: list[psutil.Process]) -> None:
        """Note `roots` and everything below them; those that ended keep their last figure."""
        for root in roots:
            try:
                for process in (root, *root.children(recursive=True)):
                    self.seen[process.pid] = (_program(process), _peak(process))
            except psutil.Error:
                continue


def _peak(process: psutil.Process) -> int:
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise psutil.NoSuchProcess(process.pid) from error
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)


def _program(process: psutil.Process) -> str:
    words = [Path(word).name for word in process.cmdline()]
    return " ".join(words[:5])[:60]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--model", default="realesr-animevideov3")
    parser.add_argument("-s", "--scale", default="4")
    wanted = parser.parse_args()
    width, height = map(int, wanted.size.split("x"))
    memory = Memory()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film, out = make_moving(folder / "film.mp4", wanted.frames, (width, height)), folder / "out.mp4"
        began = time.monotonic()
        with start(replace(settings.load(), state=folder / "state"), workers=1) as cluster:
            ready = time.monotonic() - began
            respool = str(Path(sys.executable).with_name("respool"))
            command = [respool, "run", str(film), "-o", str(out), "--model", wanted.model, "-s", wanted.scale]
            began = time.monotonic()
            with subprocess.Popen([*command, "--state", str(cluster.folder.path)]) as run:
                roots = [psutil.Process(pid) for pid in (run.pid, *(p.pid for p in cluster.processes))]
                while run.poll() is None:
                    memory.look(roots)
                    time.sleep(PAUSE_S)
            seconds = time.monotonic() - began
            if run.returncode:
                sys.exit(run.returncode)
            records = Records(Storage(cluster.settings))
            (job,) = records.jobs()
            plan = records.plan(job)
            assert plan is not None
            dones = list(records.dones(job, range(len(plan.chunks))))
    print(f"load {os.getloadavg()[0]:.1f}; cluster ready in {ready:.1f} s; {len(dones)} chunks")
    whole = 0.0
    for done in sorted(dones, key=lambda d: bytes(d.record["started"])):
        stages = msgspec.json.decode(done.record["stages"], type=dict[str, float])
        took = msgspec.json.decode(done.record["seconds"], type=dict[str, float])
        whole += took["whole"] - took["load"]
        print(
            f"chunk {done.chunk}: {done.frames} frames; loading {took['load']:.2f} s, first frame decoded to commit "
            f"{stages['enhance'] + stages['store']:.2f} s"
        )
    print(
        f"whole command {seconds:.1f} s, {wanted.frames / seconds:.2f} frames/s; in chunks {wanted.frames / whole:.2f} frames/s"
    )
    for program, size in sorted(memory.seen.values(), key=lambda p: -p[1]):
        print(f"{size >> 20:6d} MiB  {program}")


if __name__ == "__main__":
    main()
