"""Judgement of a failed attempt by whose fault it is, and the test by which a worker that failed learns whether it is fit to work."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

Blame = Literal["chunk", "worker", "services"]

_LOCAL = frozenset(
    (
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ENODEV,
        errno.ESTALE,
    )
)
"""Errors of the operating system about a disk, a device or memory, which a chunk's data cannot cause."""

_NEEDED = ("av", "numpy", "pyvips")
"""Packages without which no chunk can be done; networks need more, which the attempt itself names."""

_PROBE = 1 << 20
_MEMORY = 64 << 20


def blame(error: BaseException) -> Blame:
    """Return whose fault `error` seems to be: the chunk's, the worker's own, or that of Redis and S3."""
    from contract.errors import TransientError

    if isinstance(error, TransientError):
        return "services"
    if type(error).__name__ in ("OutOfMemoryError", "AcceleratorError"):  # classes of torch, which is not imported here
        return "worker"
    if isinstance(error, (MemoryError, ImportError)):
        return "worker"
    if isinstance(error, OSError) and error.errno in _LOCAL:
        return "worker"
    return "chunk"


class Health:
    """The test of one worker process: its scratch space, memory, libraries and device."""

    def __init__(self, scratch: Callable[[], Path], device: Callable[[], str]) -> None:
        """Take functions, because the folder may be made anew and the device is known only once a network is loaded."""
        self._scratch, self._device = scratch, device
        self._missing: set[str] = set()

    def note(self, error: BaseException) -> None:
        """Remember a library that an attempt could not import: the test tries it again."""
        if isinstance(error, ImportError) and error.name:
            self._missing.add(error.name)

    def problem(self) -> str:
        """Return what is wrong with this worker, in one sentence; empty when it is fit."""
        try:
            self._test()
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def _test(self) -> None:
        with tempfile.TemporaryFile(dir=self._scratch()) as probe:
            written = os.urandom(_PROBE)
            probe.write(written)
            probe.flush()
            os.fsync(probe.fileno())
            probe.seek(0)
            if probe.read() != written:
                raise OSError(errno.EIO, "scratch space gives other bytes than were written")
        bytearray(_MEMORY)
        for name in (*_NEEDED, *sorted(self._missing)):
            importlib.import_module(name)
        self._missing.clear()
        device, torch = self._device(), sys.modules.get("torch")
        if torch is not None and device.startswith(("cuda", "mps")):
            ones = torch.ones(1024, device=device)
            if int((ones + ones).sum().item()) != 2048:
                raise RuntimeError(f"device {device} computes wrong sums")
