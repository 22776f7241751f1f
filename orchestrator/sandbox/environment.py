"""The environment of a process that parses media: a list of names that it may have, so that no secret is among them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from contract.settings import Settings

KEPT = {"PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}
KEPT_PREFIXES = ("LC_", "MALLOC_", "PYTHON", "VIPS_")

SETTINGS = ("media_memory", "media_cpu_s", "media_step_s", "log_format")
"""Settings that it reads. It has no address and no key of Redis, the broker or S3."""

HEAP = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
"""glibc's settings of each process, unless the environment has others: freed blocks of 1 MiB and more return to the system.

By default glibc takes a long film's tables from its heap and leaves it fragmented: two hours of mp4 took 118 to 137 MiB,
with this setting 101."""

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""NumPy's libraries start threads when they are imported; Landlock would not hold for these, and nothing here needs them."""


def environment(settings: Settings, scratch: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables of a process whose own folder is `scratch`."""
    kept = {name: value for name, value in environ.items() if name in KEPT or name.startswith(KEPT_PREFIXES)}
    known = settings.environment()
    own = {name: known[name] for name in (f"RESPOOL_{setting.upper()}" for setting in SETTINGS)}
    return {**HEAP, **kept, **ONE_THREAD, **own, "RESPOOL_SCRATCH": str(scratch), "TMPDIR": str(scratch)}
