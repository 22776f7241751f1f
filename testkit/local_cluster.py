"""The embedded cluster as tests of its processes see it."""

from __future__ import annotations

import time
from collections.abc import Callable

from redis import Redis

from contract.settings import Settings
from orchestrator.local import Cluster, start
from orchestrator.local.state_folder import started
from stores.storage import Storage


def servers(settings: Settings, keep: bool = False) -> Cluster:
    """Start a cluster of servers alone, which takes a second."""
    return start(settings, workers=0, orchestrator=False, keep=keep)


def everybody(cluster: Cluster) -> list[int]:
    """Return the pids of all processes of a cluster, supervisor and watchdog included."""
    life = cluster.life
    assert life.supervisor
    assert life.watchdog
    return [p.pid for p in (*life.processes, life.supervisor, life.watchdog)]


def wait(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Wait for `condition`; return True when it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def gone(pids: list[int]) -> bool:
    """Return True when none of the processes runs any more."""
    return not any(started(pid) for pid in pids)


def answers(cluster: Cluster) -> bool:
    """Return True when both servers of a cluster answer."""
    try:
        with Redis.from_url(cluster.settings.redis_url) as client:
            client.ping()
        Storage(cluster.settings).ensure_bucket()
    except Exception:
        return False
    return True
