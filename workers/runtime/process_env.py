"""What a worker asks of its machine. To be called before torch is loaded; pool processes inherit it, and glibc reads its part
when a process starts, so that it holds in those alone."""

from __future__ import annotations

import os

_ASKED = {
    # Frames of 60 MB come and go: in pages of 4 KiB the kernel's clearing of them is half of the time of a copy.
    "THP_MEM_ALLOC_ENABLE": "1",
    # Frames go back to the system when they are freed. By itself glibc soon takes them from its heap, which they leave in pieces:
    # after 160 frames of 2560x1920 a worker was at 1,663 MiB and growing, with this at about 1,450 and level. At 1 MiB colour took a third longer.
    "MALLOC_MMAP_THRESHOLD_": str(2 << 20),
    # A thread that waits for its part of a tensor must not spin on a core that network or encoder could use.
    "OMP_WAIT_POLICY": "passive",
}


def ask() -> None:
    """Ask through the environment, where nobody has asked for something else."""
    for name, value in _ASKED.items():
        os.environ.setdefault(name, value)
