"""Real servers for every test that speaks to one: Redis and S3, started once, with a private corner for each module."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from contract.errors import UsageError
from contract.settings import Settings
from orchestrator.local import Cluster, start
from stores.storage import Storage

_SLOW_FOLDERS = ("deploy", "film", "integration", "training", "workers/faces", "workers/film", "workers/generators")
_SLOW_FIXTURES = {"cluster", "laboratory", "need"}
"""Tests in these folders, or with these fixtures, start clusters, restore whole films, run networks or validators; `make test-fast`
leaves them out."""
_databases = itertools.count(1)
_TOOLS = Path(__file__).parents[1] / ".tools" / "bin"
"""Validators of the deployment files, put there by deploy/tools.sh."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow the tests of the slow folders and those with a slow fixture."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parent
        slow_folder = any(folder.is_relative_to(slow) for slow in _SLOW_FOLDERS)
        if slow_folder or _SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Say how a process of tests ended that crashed: pytest-xdist only says that it did."""
    if error:
        code = node.gateway._io.popen.wait(30)
        node.config.get_terminal_writer().line(f"\n[{node.gateway.id}] ended with {code} (a signal where negative)")


@pytest.fixture(autouse=True)
def _ordinary_priority() -> Iterator[None]:
    """No test may leave this process real-time, as SVT-AV1 does to root's: all that follows would starve."""
    before = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else 0
    yield
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(0) == before


def _start(folder: Path, workers: int, orchestrator: bool) -> Cluster:
    """A cluster; without the packages that bring its servers, skip on a laptop and fail in CI."""
    try:
        return start(Settings(state=folder), workers=workers, orchestrator=orchestrator)
    except UsageError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def need() -> Callable[[str], str]:
    """Finds a program that is no Python package of ours; without it, skip on a laptop and fail in CI."""

    def find(program: str) -> str:
        found = shutil.which(program, path=os.pathsep.join((str(_TOOLS), os.environ.get("PATH", ""), "/usr/sbin")))
        if found is None and os.environ.get("CI"):
            pytest.fail(f"{program} is not installed; deploy/tools.sh installs it in CI.")
        return found or pytest.skip(f"{program} is not installed; see deploy/tools.sh")

    return find


@pytest.fixture(scope="session")
def _servers() -> Iterator[Cluster]:
    with (
        tempfile.TemporaryDirectory(prefix="respool-test-", ignore_cleanup_errors=True) as folder,
        _start(Path(folder), 0, orchestrator=False) as cluster,
    ):
        yield cluster


@pytest.fixture(scope="session")
def redis_server(_servers: Cluster) -> str:
    """URL, password included, of a real Redis; tests do not use database 0."""
    return _servers.settings.redis_url


@pytest.fixture(scope="session")
def s3_server(_servers: Cluster) -> Settings:
    """Settings that name a real S3 server with an administrator's keys."""
    return _servers.settings


@pytest.fixture(scope="module")
def settings(redis_server: str, s3_server: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings wired to real Redis and S3: an empty database and an empty bucket for each test module."""
    n = next(_databases)
    url = redis_server.rpartition("/")[0] + f"/{1 + n % 15}"
    with Redis.from_url(url) as client:
        client.flushdb()
    folder = tmp_path_factory.mktemp("respool")
    wired = replace(
        s3_server, redis_url=url, s3_bucket=f"test-{n}", state=folder / "state", scratch=folder, cache=folder / "cache"
    )
    Storage(wired).ensure_bucket()
    return wired


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A whole embedded cluster with one worker, for tests that leave it as they found it."""
    with (
        tempfile.TemporaryDirectory(prefix="respool-test-", ignore_cleanup_errors=True) as folder,
        _start(Path(folder), 1, orchestrator=True) as living,
    ):
        yield living
