"""Proof of kernels on the card at hand: a trial in a process of its own, whose outcome is kept.

A wrong kernel may not only return wrong values. It may read or write outside of its memory, after which the process can use the card
no more, or it may never end. A trial can do neither to a worker.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import torch

from stores.atomic_files import write_atomically

_log = logging.getLogger(__name__)

TRIAL_S = 600.0
"""Seconds that a trial may take: some tens of kernels are compiled, each in 1 to 5 s on a busy core."""

_CODE = {".py", ".cu", ".cuh"}
"""Endings of the files that a trial's result depends on: Python, and CUDA's code with its headers."""

Outcome = Mapping[str, Any]
"""The JSON object that a trial prints as its last line."""


def has_triton() -> bool:
    """Return whether Triton is installed; it comes with PyTorch for CUDA."""
    return importlib.util.find_spec("triton") is not None


class Proofs:
    """Outcomes of the trials of kernels on `device`, kept below `cache` with those of the compiled kernels.

    `limit` is the seconds that a trial may take.
    """

    def __init__(self, device: torch.device, cache: Path, limit: float = TRIAL_S) -> None:
        self.device = device
        self._cache = cache
        self._limit = limit
        self._known: dict[tuple[str, ...], Outcome | None] = {}
        # The default is below the home folder, which a container's user may not have.
        os.environ.setdefault("TRITON_CACHE_DIR", str(cache / "compiled" / "triton"))

    def outcome(self, module: str, *arguments: str) -> Outcome | None:
        """Return what ``python -m module DEVICE arguments`` found here; None if it failed or took too long.

        It runs once for each card, version of PyTorch and Triton, and state of the code. A failure is not kept on disk, as the
        card may have been busy.
        """
        trial = (module, *arguments)
        if trial not in self._known:
            path = self._cache / "probes" / f"{self._key(trial)}.json"
            found = _read(path) or self._run(trial)
            self._known[trial] = found
            if found is not None:
                with contextlib.suppress(OSError):  # without a cache the next worker tries again
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_atomically(path, msgspec.json.encode(found))
        return self._known[trial]

    def _key(self, trial: tuple[str, ...]) -> str:
        card = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        facts = (*trial, card, torch.__version__, version("triton"), _code(trial[0]))
        return hashlib.sha256("|".join(facts).encode()).hexdigest()[:24]

    def _run(self, trial: tuple[str, ...]) -> Outcome | None:
        module, *arguments = trial
        command = [sys.executable, "-m", module, str(self.device), *arguments]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=self._limit, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            _log.warning("the trial %s took more than %.0f s; its kernels are not used", module, self._limit)
            return None
        lines = done.stdout.strip().splitlines()
        if done.returncode or not lines:
            why = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            _log.warning("the trial %s failed: %s; its kernels are not used", module, why)
            return None
        found: Outcome = msgspec.json.decode(lines[-1], type=dict[str, Any])
        _log.info("the trial %s found %s", module, lines[-1])
        return found


def _read(path: Path) -> Outcome | None:
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    return None


def _code(module: str) -> str:
    """Return the SHA-256 of all code beside the kernels and beside the trial, so that they are tried anew when any of it changes."""
    spec = importlib.util.find_spec(module)
    folders = {Path(__file__).parent}
    folders |= {Path(spec.origin).parent} if spec is not None and spec.origin is not None else set()
    files = sorted(path for folder in folders for path in folder.iterdir() if path.suffix in _CODE)
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
