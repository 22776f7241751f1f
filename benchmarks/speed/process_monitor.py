"""A command measured from outside: its time, and memory and CPU of all its and its cluster's processes. Linux only."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from orchestrator.local import Cluster

_PAUSE_S = 0.5
"""Seconds between looks. The kernel keeps the peaks; ten looks a second took an eighth of a core from the command."""


class Watch:
    """Peak resident memory and CPU seconds of processes, by id, as the kernel counts them."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[str, int, float]] = {}

    def run(self, cluster: Cluster, *arguments: str) -> float:
        """Run `respool ARGUMENTS` on `cluster` and watch both; return the seconds it took. Exit when the command fails."""
        command = [str(Path(sys.executable).with_name("respool")), *arguments, "--state", str(cluster.folder.path)]
        began = time.monotonic()
        with subprocess.Popen(command) as run:
            roots = [psutil.Process(pid) for pid in (run.pid, *(p.pid for p in cluster.processes))]
            while run.poll() is None:
                self._look(roots)
                time.sleep(_PAUSE_S)
        if run.returncode:
            sys.exit(run.returncode)
        return time.monotonic() - began

    @property
    def cpu_s(self) -> float:
        """Return the CPU seconds of all processes together."""
        return sum(spent for _, _, spent in self._seen.values())

    def lines(self) -> str:
        """Return a line for each process, the largest first."""
        ranked = sorted(self._seen.values(), key=lambda p: -p[1])
        return "\n".join(f"{size >> 20:6d} MiB {spent:7.1f} s of CPU  {program}" for program, size, spent in ranked)

    def _look(self, roots: list[psutil.Process]) -> None:
        """Record `roots` and everything below them; processes that ended keep their last figure."""
        for root in roots:
            try:
                for process in (root, *root.children(recursive=True)):
                    self._seen[process.pid] = (_program(process), peak(process.pid), sum(process.cpu_times()[:2]))
            except psutil.Error:
                continue


def peak(pid: int | None = None) -> int:
    """Return the peak memory in bytes of a process (default: this one); getrusage would count its parent's before exec, too.

    Raises psutil.NoSuchProcess.
    """
    try:
        lines = Path(f"/proc/{pid or 'self'}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise psutil.NoSuchProcess(pid or 0) from error
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)


def _program(process: psutil.Process) -> str:
    words = [Path(word).name for word in process.cmdline()]
    return " ".join(words[:5])[:60]
