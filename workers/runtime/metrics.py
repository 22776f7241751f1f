"""Metrics of a worker process for Prometheus. Labels are bounded: outcomes, stages and causes are fixed sets."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from contract.errors import (
    BadInput,
    EnhanceError,
    IntegrityError,
    RespoolError,
    StorageError,
    Unreachable,
    WeightsError,
)
from contract.job import Done
from contract.masks import results_of

_MODELS = 32
"""Models with metrics of their own; all further ones of a worker count as ``other``."""

_SECONDS = (0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800)

_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (EnhanceError, "enhance"),
    (IntegrityError, "integrity"),
    (WeightsError, "weights"),
    (BadInput, "input"),
    (Unreachable, "unreachable"),
    (StorageError, "storage"),
    (RespoolError, "other"),
    (MemoryError, "memory"),
    (OSError, "system"),
)
_LABELS = frozenset(label for _, label in _CAUSES) | {"device", "time"}
STAGES = ("load", "fetch", "enhance", "store", "whole")


class Meter:
    """The metrics of one worker process. `scratch` is the folder of its chunks."""

    def __init__(self, scratch: Path) -> None:
        self.registry = CollectorRegistry()
        self._models: set[str] = set()
        self._at_hand = 0
        self._lock = threading.Lock()
        r = self.registry
        self._frames = Counter("respool_frames", "Frames delivered, context frames not counted.", ["model"], registry=r)
        self._pixels = Counter("respool_pixels", "Pixels delivered.", ["model"], registry=r)
        self._chunks = Counter("respool_chunks", "Chunks by what became of them.", ["outcome"], registry=r)
        self._failures = Counter("respool_attempt_failures", "Failed attempts by cause.", ["cause"], registry=r)
        self._seconds = Histogram(
            "respool_chunk_seconds", "Seconds a chunk took, by stage.", ["stage"], buckets=_SECONDS, registry=r
        )
        self._busy = Gauge("respool_worker_busy", "1 while a chunk is at hand.", registry=r)
        self._out = Gauge(
            "respool_worker_out_of_service", "1 while the worker takes no work: it is broken.", registry=r
        )
        for cause in _LABELS:  # start at 0, because a rate shows no rise in a series that begins with its first failure
            self._failures.labels(cause)
        r.register(_Machine(scratch))
        ProcessCollector(registry=r)

    def out_of_service(self, out: bool) -> None:
        """Note that the worker withdraws, or is back."""
        self._out.set(int(out))

    def begin(self) -> None:
        """Count a claimed chunk."""
        self._count(1)

    def start_attempt(self, model: str) -> None:
        """Note the start of an attempt with `model`: its series exist from then on, at first with 0."""
        name = self._name(model)
        self._frames.labels(name)
        self._pixels.labels(name)

    def end(self, outcome: str) -> None:
        """Count the end of a chunk with its `outcome`, see `Worker.work`."""
        self._count(-1)
        self._chunks.labels(outcome.replace(" ", "_")).inc()

    def attempt_stored(self, model: str, done: Done, seconds: Mapping[str, float]) -> None:
        """Count a stored attempt: its frames, its pixels, and its seconds by stage."""
        name = self._name(model)
        self._frames.labels(name).inc(done.frames)
        self._pixels.labels(name).inc(sum(o.frames * o.width * o.height for o in results_of(done)))
        for stage in STAGES:
            if stage in seconds:
                self._seconds.labels(stage).observe(seconds[stage])

    def failure(self, error: BaseException) -> None:
        """Count a failed attempt."""
        self._failures.labels(cause_of(error)).inc()

    def _count(self, change: int) -> None:
        with self._lock:
            self._at_hand += change
            self._busy.set(int(self._at_hand > 0))

    def _name(self, model: str) -> str:
        self._models |= {model} if len(self._models) < _MODELS else set()
        return model if model in self._models else "other"


def cause_of(error: BaseException) -> str:
    """Return the label, one of a fixed set, for the cause of a failed attempt."""
    if type(error).__name__ in ("OutOfMemoryError", "AcceleratorError"):  # classes of torch, which is not imported here
        return "memory" if type(error).__name__ == "OutOfMemoryError" else "device"
    if type(error).__name__ == "SoftTimeLimitExceeded":
        return "time"
    return next((label for kind, label in _CAUSES if isinstance(error, kind)), "other")


class _Machine(Collector):
    """A collector of disk space and GPU memory, read at each scrape."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        with suppress(OSError):  # a disk that is gone is what the worker's own test reports
            disk = shutil.disk_usage(self._scratch)
            yield _gauge("respool_scratch_free_bytes", "Free bytes where chunks are worked on.", disk.free)
            yield _gauge("respool_scratch_size_bytes", "Size of the disk where chunks are worked on.", disk.total)
        found = gpu_memory()
        if found:
            family = GaugeMetricFamily("respool_gpu_memory_bytes", "GPU memory of this worker.", labels=["kind"])
            for kind, value in found.items():
                family.add_metric([kind], value)
            yield family


def gpu_memory() -> dict[str, int]:
    """Return the bytes allocated, reserved and peak of this process, and free and total of its GPU; empty without CUDA in use."""
    torch = sys.modules.get("torch")  # metrics must not import torch
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not cuda.is_available() or not cuda.is_initialized():
        return {}
    free, total = cuda.mem_get_info()
    return {
        "allocated": cuda.memory_allocated(),
        "reserved": cuda.memory_reserved(),
        "peak": cuda.max_memory_allocated(),
        "free": free,
        "total": total,
    }


def _gauge(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, text)
    family.add_metric([], value)
    return family
