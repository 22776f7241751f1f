"""Faults over sources whose names begin with "heavy": memory that reading them takes, and readers that the kernel kills.

Both end once <folder>/memory exists, as when memory was added to the machine.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

NEEDED = 3 << 30
"""Address space, in bytes, that the fault `hungry` maps while a heavy source is read."""


def patch(module: Any, name: str) -> None:
    """Let `hungry` map NEEDED, and let `killed` wait for a kill after it wrote its pid into <folder>/readers."""
    if not name.startswith(("hungry", "killed")):
        return
    folder = Path(os.environ["RESPOOL_FAULT"].partition(":")[2])
    readers = (folder / "readers").open("ab", buffering=0)
    film = module._film

    def heavy(job: Any, item: Any, *rest: Any) -> Any:
        import numpy as np

        if not item.name.startswith("heavy") or (folder / "memory").exists():
            return film(job, item, *rest)
        if name.startswith("killed"):
            readers.write(f"{os.getpid()}\n".encode())
            signal.pause()
        _mapped = np.empty(NEEDED, np.uint8)  # raises MemoryError above the limit; its pages are never touched
        return film(job, item, *rest)

    module._film = heavy
