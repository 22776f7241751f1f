"""Flower in front of a hundred workers: it counts them all, and lets nobody stop them."""

from __future__ import annotations

import base64
import json
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from contract.settings import Settings
from orchestrator.local import Cluster, start
from stores import addresses


@pytest.fixture(scope="module")
def board() -> Iterator[Cluster]:
    """Servers and Flower, without workers of their own."""
    with (
        tempfile.TemporaryDirectory(prefix="respool-test-", ignore_cleanup_errors=True) as folder,
        start(Settings(state=Path(folder) / "s"), workers=0, orchestrator=False, flower=True) as cluster,
    ):
        yield cluster


def ask(board: Cluster, path: str, data: bytes | None = None) -> Any:
    """An answer of Flower's, with the login."""
    login = board.credentials
    token = base64.b64encode(f"{login.flower_user}:{login.flower_password}".encode()).decode()
    request = urllib.request.Request(login.flower_url + path, data, headers={"Authorization": f"Basic {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_flower_sees_a_hundred_workers_and_their_tasks(board: Cluster) -> None:
    """Heartbeats and tasks of a hundred workers arrive, each task with the words that say which chunk it is."""
    app = Celery("respool")
    app.conf.update(**addresses.broker(board.settings).conf)
    names = [f"w{n}@node" for n in range(100)]
    deadline = time.monotonic() + 60
    seen: dict[str, Any] = {}
    with app.connection_for_write() as connection:
        senders = {n: app.events.Dispatcher(connection, hostname=n, enabled=True) for n in names}
        while len(seen) < len(names):
            assert time.monotonic() < deadline, f"Flower sees {len(seen)} workers"
            for name, sender in senders.items():
                sender.send("worker-online")
                sender.send("worker-heartbeat", freq=2, active=1, processed=1)
                sender.send("task-received", uuid=f"task-{name}", name="respool.enhance", args=f"film.mp4 chunk {name}")
            try:
                seen = {name: ask(board, f"/api/task/info/task-{name}") for name in names}
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.5)  # it starts, or has not read them all
    assert seen["w42@node"]["args"] == "film.mp4 chunk w42@node"
    assert {task["worker"] for task in seen.values()} == set(names)


def test_flower_only_watches(board: Cluster) -> None:
    """Nobody who has the login can shut a worker down or revoke a task from there."""
    for path in ("/api/worker/shutdown/w1@node", "/api/task/revoke/task-w1@node"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(board, path, b"")
        with refused.value as answer:
            assert answer.code in (401, 403, 405), path
