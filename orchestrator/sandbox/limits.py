"""Limits of a process that parses untrusted media: memory, processor time, file size."""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
from pathlib import Path

from contract.settings import Settings


class Allowance:
    """Limits of this process. The kernel ends it with SIGXCPU when its processor time is used up.

    There is a limit for each source (`begin`) and one for each step of reading it (`step`), so that a source that brings
    the parser to a halt is noticed long before one that is merely long.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._end = float("inf")
        if settings.media_memory and sys.platform == "linux":  # on other systems address space does not measure memory
            resource.setrlimit(resource.RLIMIT_AS, (settings.media_memory, settings.media_memory))
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
