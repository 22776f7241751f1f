"""Children that never outlive their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent: int | None = None) -> None:
    """Let Linux kill this process when its parent dies, and end it at once when `parent` is gone already.

    `parent` is the expected parent's pid, by default the present one. Elsewhere than on Linux nothing happens.
    """
    ask = death_signal(os.getppid() if parent is None else parent)
    if ask is not None:
        ask()


def death_signal(parent: int) -> Callable[[], None] | None:
    """Return what a child of `parent` runs between fork and exec to die with it; None elsewhere than on Linux.

    The library is loaded here, before the fork: between fork and exec only system calls are safe.
    """
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask
