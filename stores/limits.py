"""Limits of a process that parses untrusted media: memory, processor time, file size."""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from contract.settings import Settings

_SHARE = 0.8
"""Of the container's memory, for the process that reads media: the rest is for the orchestrator itself."""

_LEAST = 2 << 30
"""Address space that the libraries need before they read anything; less would refuse every film."""

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def cgroup_files(root: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> list[Path]:
    """Return the files that may limit this process' memory: of its control group and of all groups around it.

    A container sees its own group as the root; a Slurm job or a systemd service is several levels below it.
    """
    files = []
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    for base, name, mine in (
        (root, "memory.max", lambda line: line.startswith("0::")),
        (root / "memory", "memory.limit_in_bytes", lambda line: "memory" in line.split(":")[1].split(",")),
    ):
        paths = [line.split(":", 2)[2] for line in lines if line.count(":") >= 2 and mine(line)] or ["/"]
        for path in paths:
            group = PurePosixPath(path.lstrip("/"))
            files += [base / part / name for part in (group, *group.parents)]
    return list(dict.fromkeys(files))


def memory_limit(settings: Settings, files: Sequence[Path] | None = None) -> int:
    """Return the bytes that a process may map: `media_memory`, and no more than the container's share; 0 for no limit.

    Beyond the container's memory the kernel kills, and nobody learns why; within it the source is refused by name.
    """
    limits = [settings.media_memory] if settings.media_memory else []
    for file in cgroup_files() if files is None else files:
        try:
            text = file.read_text().strip()
        except OSError:
            continue
        if text.isdecimal() and int(text) < 1 << 60:  # "max", or cgroup v1's largest number: no limit
            limits.append(max(_LEAST, int(int(text) * _SHARE)))
    return min(limits, default=0)


class Allowance:
    """Limits of this process. The kernel ends it with SIGXCPU when its processor time is used up.

    There is a limit for each source (`begin`) and one for each step of reading it (`step`), so that a source that brings
    the parser to a halt is noticed long before one that is merely long.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._end = float("inf")
        limit = memory_limit(settings)
        if limit and sys.platform == "linux":  # on other systems address space does not measure memory
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        folder = settings.scratch if settings.scratch != Path() else Path(tempfile.gettempdir())
        free = shutil.disk_usage(folder).free if folder.exists() else resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (free, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def begin(self) -> None:
        """Start the time of a new source."""
        self._end = _used() + (self._settings.media_cpu_s or float("inf"))
        self.step()

    def step(self) -> None:
        """Start the time of a new step: another packet or frame of the current source."""
        if self._end == float("inf") and not self._settings.media_step_s:
            return
        until = min(self._end, _used() + (self._settings.media_step_s or float("inf")))
        resource.setrlimit(resource.RLIMIT_CPU, (int(until) + 1, resource.RLIM_INFINITY))  # whole seconds


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
