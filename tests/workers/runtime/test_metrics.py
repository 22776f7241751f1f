"""The worker's metrics for Prometheus."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contract.errors import EnhanceError, StorageError, Unreachable
from contract.job import Done, Output
from testkit.prometheus import panels
from workers.runtime.metrics import Meter, cause_of


def done(frames: int) -> Done:
    return Done(0, "1-00000000", "w", frames, (Output(0, "k", "0" * 64, 9, frames, 640, 480),))


def test_frames_pixels_and_seconds_are_counted(tmp_path: Path) -> None:
    """One chunk of 10 frames of 640x480 is 10 frames, 3,072,000 pixels, and one observation for each stage it names."""
    meter = Meter(tmp_path)
    meter.begin()
    assert meter.registry.get_sample_value("respool_worker_busy") == 1
    meter.attempt_stored("lanczos", done(10), {"load": 0.1, "whole": 2.0, "unheard-of": 5.0})
    meter.end("handed back")
    value = meter.registry.get_sample_value
    assert value("respool_frames_total", {"model": "lanczos"}) == 10
    assert value("respool_pixels_total", {"model": "lanczos"}) == 3_072_000
    assert value("respool_chunk_seconds_sum", {"stage": "whole"}) == 2.0
    assert value("respool_chunk_seconds_count", {"stage": "unheard-of"}) is None
    assert value("respool_chunks_total", {"outcome": "handed_back"}) == 1
    assert value("respool_worker_busy") == 0


def test_models_are_bounded(tmp_path: Path) -> None:
    """A thousand models in specs do not create a thousand series."""
    meter = Meter(tmp_path)
    for n in range(1000):
        meter.attempt_stored(f"model-{n}", done(1), {})
    names = {s.labels["model"] for f in meter.registry.collect() if f.name == "respool_frames" for s in f.samples}
    assert len(names) == 33
    assert meter.registry.get_sample_value("respool_frames_total", {"model": "other"}) == 1000 - 32


class OutOfMemoryError(RuntimeError):
    """An error with the name of torch's class."""


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (EnhanceError("black"), "enhance"),
        (Unreachable("away"), "unreachable"),
        (StorageError("gone"), "storage"),
        (OutOfMemoryError("CUDA out of memory"), "memory"),
        (MemoryError(), "memory"),
        (PermissionError("disk"), "system"),
        (ZeroDivisionError("surprise"), "other"),
    ],
)
def test_causes_are_a_fixed_set(error: Exception, cause: str) -> None:
    """Every exception is counted under one label of a fixed set."""
    assert cause_of(error) == cause


def test_series_begin_at_zero(tmp_path: Path) -> None:
    """Series start at 0, as Prometheus sees a rise only in an existing series: the first failure and chunk count in a rate."""
    meter = Meter(tmp_path)
    value = meter.registry.get_sample_value
    assert value("respool_attempt_failures_total", {"cause": "device"}) == 0
    assert value("respool_attempt_failures_total", {"cause": "enhance"}) == 0
    assert value("respool_frames_total", {"model": "lanczos"}) is None
    meter.start_attempt("lanczos")
    assert (
        value("respool_frames_total", {"model": "lanczos"}) == value("respool_pixels_total", {"model": "lanczos"}) == 0
    )
    meter.attempt_stored("lanczos", done(10), {})
    meter.start_attempt("lanczos")
    assert value("respool_frames_total", {"model": "lanczos"}) == 10
    meter.failure(EnhanceError("black"))
    assert value("respool_attempt_failures_total", {"cause": "enhance"}) == 1


def test_gpu_memory_has_the_kinds_that_the_dashboard_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a GPU each kind of memory is a series, reserved and total among them; without a GPU there is none."""
    meter = Meter(tmp_path)
    asked = {
        kind
        for panel in panels()
        for e, _ in panel.queries
        for kind in re.findall(r'gpu_memory_bytes\{kind="(\w+)"', e)
    }
    assert asked == {"reserved", "total"}
    monkeypatch.setattr("workers.runtime.metrics.gpu_memory", dict)
    assert meter.registry.get_sample_value("respool_gpu_memory_bytes", {"kind": "total"}) is None
    monkeypatch.setattr("workers.runtime.metrics.gpu_memory", lambda: {"reserved": 1 << 30, "total": 80 << 30})
    assert meter.registry.get_sample_value("respool_gpu_memory_bytes", {"kind": "reserved"}) == 1 << 30
    assert meter.registry.get_sample_value("respool_gpu_memory_bytes", {"kind": "total"}) == 80 << 30
