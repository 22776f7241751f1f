"""The HTTP port that metrics and health are read from."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from contract.errors import UsageError
from contract.settings import Settings
from stores.metrics_server import Heartbeat, served


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_metrics_and_health_are_served_and_nothing_else(tmp_path: Path) -> None:
    """/metrics shows the registry, /healthz follows the process' own word, any other path is refused."""
    registry = CollectorRegistry()
    Counter("respool_tests", "Tests.", registry=registry).inc(3)
    well = True
    with served(Settings(state=tmp_path, metrics_port=free_port()), registry, lambda: well) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert b"respool_tests_total 3.0" in answer.read()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            assert answer.read() == b"well\n"
        well = False
        for path, code in (("healthz", 503), ("etc/passwd", 404)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5)
            assert refused.value.code == code
            refused.value.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)


def test_no_port_means_no_server(tmp_path: Path) -> None:
    """metrics_port 0, the default, opens nothing."""
    with served(Settings(state=tmp_path), CollectorRegistry(), lambda: True) as port:
        assert port == 0


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """Two processes with one port: the second says which setting to change."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings(state=tmp_path, metrics_port=taken.getsockname()[1])
        with pytest.raises(UsageError, match="RESPOOL_METRICS_PORT"), served(settings, CollectorRegistry(), bool):
            pass


def test_a_heart_that_stopped_is_stuck() -> None:
    """A loop that has not come round within its patience is not alive; a beat makes it so again."""
    heart = Heartbeat(patience_s=-1.0)
    heart.beat()
    assert not heart.alive()
    assert Heartbeat(patience_s=60.0).alive()
