"""The processor of this machine."""

from __future__ import annotations

import os
import platform
import re
from functools import cache
from pathlib import Path


@cache
def processor_name() -> str:
    """Return the processor's model name, which differs between processors of different speed."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
    except OSError:  # there is none but on Linux
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
