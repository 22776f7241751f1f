"""What parsing a stranger's media may cost the process that does it: memory, processor time, the size of a file."""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
from pathlib import Path

from contract.settings import Settings


class Allowance:
    """Limits of this process. The kernel ends it with SIGXCPU when it has used up its processor time.

    Time is given for one source at a time, all in all (`begin`), and for each step of reading it (`step`), so that a source
    which brings the parser to a halt is noticed long before one that is merely long.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._end = float("inf")
        if settings.media_memory and sys.platform == "linux":  # elsewhere address space is no measure of memory
            resource.setrlimit(resource.RLIMIT_AS, (settings.media_memory, settings.media_memory))
        folder = settings.scratch if settings.scratch != Path() else Path(tempfile.gettempdir())
        free = shutil.disk_usage(folder).free if folder.exists() else resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (free, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def begin(self) -> None:
        """A source is next."""
        self._end = _used() + (self._settings.media_cpu_s or float("inf"))
        self.step()

    def step(self) -> None:
        """The source at hand was read a piece further: a packet, a frame."""
        if self._end == float("inf") and not self._settings.media_step_s:
            return
        until = min(self._end, _used() + (self._settings.media_step_s or float("inf")))
        resource.setrlimit(resource.RLIMIT_CPU, (int(until) + 1, resource.RLIM_INFINITY))  # whole seconds


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
