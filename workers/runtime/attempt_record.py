"""The record of an attempt: times, device, versions, and the duration of each stage."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING

import msgspec

from contract.documents import raw
from contract.job import Done
from stores.processor import processor_name

if TYPE_CHECKING:
    from workers.generators.enhancer import Enhancer

PACKAGES = ("respool", "torch", "openvino", "numpy", "av", "pyvips-binary", "opencv-python")
"""Packages that the pixels of a result depend on."""


@dataclass(frozen=True)
class StoredAttempt:
    """A stored attempt: its commit without the record, the seconds of its stages, and the record of its frames or images."""

    done: Done
    stages: dict[str, float]
    record: dict[str, object]


class AttemptRecord:
    """The clock of one attempt, from its start to its record."""

    def __init__(self) -> None:
        self._began, self._started = time.monotonic(), datetime.now(UTC)
        self._loaded = self._began

    def loaded(self) -> None:
        """Note that the generator is loaded."""
        self._loaded = time.monotonic()

    def complete(
        self, stored: StoredAttempt, enhancer: Enhancer | None, failed_before: tuple[str, ...]
    ) -> tuple[Done, dict[str, float]]:
        """Return the commit with its record, and the seconds by stage; `failed_before` has each earlier attempt's reason."""
        seconds = {"load": self._loaded - self._began, "whole": time.monotonic() - self._began}
        record = {
            **stored.record,
            "stages": stored.stages,
            "device": enhancer.device if enhancer else "none",
            "hardware": hardware(enhancer.device) if enhancer else "",
            "precision": enhancer.precision if enhancer else "exact",
            "backend": enhancer.backend if enhancer else "none",
            "reason": enhancer.reason if enhancer else "frames are not changed",
            "seconds": {name: round(value, 4) for name, value in seconds.items()},
            "started": self._started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": _versions(),
            "peak_memory": peak_memory(),
            "attempts": failed_before,
        }
        done = msgspec.structs.replace(stored.done, record={name: raw(value) for name, value in record.items()})
        return done, {**stored.stages, **seconds}


@lru_cache
def hardware(device: str) -> str:
    """Return the name of a device's GPU, or that of the processor."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return processor_name()


def peak_memory() -> int:
    """Return the peak memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@lru_cache
def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # a worker may be installed without it
    return found
