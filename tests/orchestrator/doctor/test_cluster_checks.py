"""The examination of a cluster: healthy servers pass, and each broken promise is found and named."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from contract.settings import Settings
from orchestrator.doctor.cluster_checks import Finding, examine_cluster
from orchestrator.local.servers import redis
from stores.ledger import Ledger
from stores.storage import Storage


def verdicts(settings: Settings) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine_cluster(settings)}


@contextmanager
def redis_with(folder: Path, config: str) -> Iterator[str]:
    """The URL of a Redis whose configuration ends in `config`."""
    member = redis(folder, "pw")
    with (folder / "redis.conf").open("a") as conf:
        conf.write(config)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(list(member.argv), cwd=folder, stdout=log, stderr=log)
    try:
        while not member.ready():
            assert server.poll() is None, (folder / "log").read_text()
        yield f"redis://:pw@127.0.0.1:{member.port}/0"
    finally:
        server.terminate()
        server.wait()


@pytest.mark.slow
def test_a_healthy_cluster_is_healthy_and_left_as_it_was(settings: Settings) -> None:
    """The embedded servers keep every promise; what was written to find out is gone afterwards."""
    found = verdicts(settings)
    assert {what for what, f in found.items() if f.verdict != "ok"} == {"workers"}  # none lives here
    assert {"redis", "s3", "s3 clock", "s3 conditional put", "s3 consistency", "broker"} <= found.keys()
    assert "s3 conditional replace" in found
    assert list(Storage(settings).list("doctor/")) == []


def test_a_redis_that_forgets_is_bad(settings: Settings, tmp_path: Path) -> None:
    """Eviction is bad, no persistence worth a word; both say what to set."""
    with redis_with(tmp_path / "r", 'maxmemory-policy allkeys-lru\nappendonly no\nsave ""\n') as url:
        with Redis.from_url(url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        found = verdicts(replace(settings, redis_url=url))
    assert found["redis eviction"].verdict == "bad"
    assert "noeviction" in found["redis eviction"].detail


@pytest.mark.slow
def test_servers_that_are_away_are_named(settings: Settings) -> None:
    """A Redis or S3 that does not answer is a finding like any other; the rest is examined all the same."""
    found = verdicts(replace(settings, redis_url="redis://127.0.0.1:1/0"))
    assert found["redis"].verdict == "bad"
    assert found["s3 conditional put"].verdict == "ok"
    found = verdicts(replace(settings, s3_endpoint="http://127.0.0.1:1"))
    assert found["s3"].verdict == "bad"
    assert "RESPOOL_S3_ENDPOINT" in found["s3"].detail


def test_an_s3_that_does_not_enforce_conditions_is_bad(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a server that ignores If-None-Match (injected here: every write succeeds), commits could collide."""
    put = Storage.put
    monkeypatch.setattr(Storage, "put", lambda self, key, data, if_absent=False: put(self, key, data))
    assert verdicts(settings)["s3 conditional put"].verdict == "bad"


def test_an_s3_that_replaces_without_looking_is_bad(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a server that ignores If-Match (injected here), plans and requests could overwrite each other."""
    write = Storage.write
    monkeypatch.setattr(Storage, "write", lambda self, key, data, _condition: write(self, key, data, None))
    found = verdicts(settings)["s3 conditional replace"]
    assert found.verdict == "bad"
    assert "If-Match" in found.detail


def test_workers_of_another_version_are_told(settings: Settings) -> None:
    """During an upgrade the doctor says who is still old."""
    ledger = Ledger(settings)
    ledger.announce_worker("old", {"version": "0.0.1"})
    try:
        found = verdicts(settings)["workers"]
    finally:
        ledger.dismiss_worker("old")
    assert found.verdict == "warn"
    assert "0.0.1" in found.detail
