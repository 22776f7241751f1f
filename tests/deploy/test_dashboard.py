"""The dashboard and the alerts before a real Prometheus that scrapes a real cluster."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from testkit import cluster as rigs
from testkit import prometheus
from testkit.cluster import Rig, rig
from testkit.processes import until
from testkit.prometheus import Query, alerts, named, panels, watching

_PATIENCE_S = 300.0
_QUIET = {"respool_gpu_memory_bytes"}
"""Exported only where a GPU is (tests/workers/runtime/test_metrics.py)."""


@pytest.fixture(scope="module")
def query(need: Callable[[str], str]) -> Iterator[Query]:
    """Two workers, a job with one chunk that failed for good, paused in the middle so that its series stand still."""
    program = need("prometheus")
    with tempfile.TemporaryDirectory(prefix="rs-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        r, ask = _watched(program, Path(name), stack)
        # A rate needs a series that was scraped before it rose: three chunks first, and the job whose rates are looked at
        # once they were seen. Chunks are slow, or the job ends before it is paused.
        r.submit(rigs.film(Path(name), 15))
        until(lambda: ask("sum(respool_frames_total) == 15"), "the first film's frames in Prometheus", _PATIENCE_S)
        job = r.submit(rigs.film(Path(name), 400))
        until(lambda: (c := r.ledger.counts(job)) and c.failed and c.done >= 8, "a chunk set aside", _PATIENCE_S)
        r.jobs.control(job, paused=True)
        # Two scrapes after the last commit: whatever is a rate has its two points.
        until(
            lambda: ask('respool_job_failed_chunks == 1 and on () respool_jobs{state="paused"} == 1'),
            "it",
            _PATIENCE_S,
        )
        until(lambda: ask("sum(rate(respool_frames_total[5m])) > 0"), "a rate", _PATIENCE_S)
        yield ask


def _watched(program: str, folder: Path, stack: ExitStack) -> tuple[Rig, Query]:
    """Start a cluster of which Prometheus scrapes every target.

    Ports are chosen before they are bound, and clusters of other tests choose too: where one was lost to them, start
    another cluster with other ports.
    """
    for attempt in range(3):
        own = folder / str(attempt)
        own.mkdir()
        with ExitStack() as trial:
            ports = prometheus.metrics_ports()
            # Leases that no busy machine lets run out: the chunk is to fail by what it raises.
            fields = {
                "metrics_port": ports,
                "device": "cpu",
                "max_attempts": 1,
                "lease_ttl_s": 30.0,
                "lease_renew_s": 2.0,
            }
            r = trial.enter_context(rig(own, prometheus.WORKERS, "poison-3-slow-0.2", **fields))
            try:
                ask = trial.enter_context(watching(program, r, own))
            except TimeoutError:
                continue
            stack.enter_context(trial.pop_all())
            return r, ask
    pytest.fail("three clusters in turn had a metrics port taken from them")


def test_every_metric_and_label_that_is_asked_for_is_exported(query: Query) -> None:
    """Each metric of a panel or alert has series in Prometheus, and each label that is selected or grouped by is on them."""
    expressions = [e for panel in panels() for e, _ in panel.queries] + list(alerts().values())
    asked = set().union(*map(named, expressions))
    assert len({metric for metric, _ in asked}) > 15
    assert ("respool_retries_total", "cause") in asked
    missing = []
    for metric, label in sorted(asked):
        selector = f'{{{label}!=""}}' if label else ""
        if metric not in _QUIET and not query(f"{metric}{selector}"):
            missing.append((metric, label))
    assert missing == []
    assert named('sum by (cause) (rate(respool_x_total{mood="y"}[5m]))') == {
        ("respool_x_total", ""),
        ("respool_x_total", "cause"),
        ("respool_x_total", "mood"),
    }


def test_every_panel_has_something_to_show(query: Query) -> None:
    """Every query of the dashboard gives a value in a small run, but for GPU memory where no GPU is."""
    empty = [
        (panel.title, expression)
        for panel in panels()
        for expression, _ in panel.queries
        if not query(expression) and not any(name in expression for name in _QUIET)
    ]
    assert empty == []


def test_alerts_say_what_is_so(query: Query) -> None:
    """One chunk was set aside, and that alert alone holds; the disk of the machine that runs this is its own affair."""
    holding = {name for name, expression in alerts().items() if query(expression)} - {"RespoolDiskLow"}
    assert holding == {"RespoolChunksSetAside"}
