"""Environment variables of worker processes that make memory and threads cheaper.

They must be set before torch is imported. Pool processes inherit them; glibc reads its own when a process starts, so those take
effect only in pool processes.
"""

from __future__ import annotations

import os

_VARIABLES = {
    # Frames of 60 MB are allocated all the time: with pages of 4 KiB the kernel's clearing takes half of the time of a copy.
    "THP_MEM_ALLOC_ENABLE": "1",
    # Freed frames return to the system. By default glibc soon allocates them from its heap, which becomes fragmented: after 160
    # frames of 2560x1920 a worker was at 1,663 MiB and growing, with this at about 1,450 and level. At 1 MiB colour took a third longer.
    "MALLOC_MMAP_THRESHOLD_": str(2 << 20),
    # With that set, glibc would return all but 128 KiB of the end of the heap at each release, and clear the same pages again for
    # the next array: at 640x480 that was a third of the processor time of filters over time.
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
    # A thread that waits for its part of a tensor must not spin on a core that network or encoder could use.
    "OMP_WAIT_POLICY": "passive",
}


def configure() -> None:
    """Set the variables that are not set already."""
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
