"""An examination of this machine and of the cluster that is meant: findings, and what to do about them."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import redis
from msgspec import Struct

from contract.errors import RespoolError
from contract.settings import Settings
from contract.storage import Storage
from orchestrator.local import attach
from orchestrator.local.members import gpus
from orchestrator.local.servers import redis_program, weed_program
from weights.models import verify_models

_LOW_DISK = 5 << 30
_CLOCK_S = 2.0
"""Leases are judged by Redis' clock alone; more than this makes times in logs and results hard to compare."""


class Finding(Struct, frozen=True):
    """One thing that was looked at. `detail` says what was found and, unless the verdict is ok, what to do."""

    what: str
    verdict: Literal["ok", "warn", "bad"]
    detail: str


def examine(settings: Settings) -> list[Finding]:
    """Look at everything; nothing is changed but a test object that is removed again."""
    findings = [_python(), *_packages(), _gpu(), *_disks(settings), *_weights(settings)]
    if not settings.embedded:
        return findings + _cluster(settings)
    findings += _programs()
    try:
        living = attach(settings)
    except RespoolError as error:
        return [*findings, Finding("cluster", "bad", str(error))]
    if living is None:
        return [*findings, Finding("cluster", "ok", f"none runs in {settings.state}; `respool up` starts one")]
    with living:
        roles = [process.role for process in living.processes]
        findings.append(Finding("cluster", "ok", f"{', '.join(roles)} run in {settings.state}"))
        findings += [Finding("cluster", "bad", problem) for problem in living.life.problems]
        return findings + _cluster(living.settings)


def _python() -> Finding:
    found = platform.python_version()
    if (3, 11) <= sys.version_info < (3, 13):
        return Finding("python", "ok", found)
    return Finding("python", "bad", f"{found}; basicsr and gfpgan build with 3.11 and 3.12 only")


def _packages() -> Iterator[Finding]:
    yield Finding("respool", "ok", _version("respool"))
    if find_spec("torch") is None:
        yield Finding("torch", "warn", "absent, so no worker can run here; pip install 'respool[worker]'")
    else:
        yield Finding("torch", "ok", _version("torch"))
    for package in ("celery", "redis", "boto3", "av", "pyvips"):
        yield Finding(package, "ok", _version(package))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "version unknown"


def _programs() -> Iterator[Finding]:
    for what, find in (("redis-server", redis_program), ("seaweedfs", weed_program)):
        try:
            yield Finding(what, "ok", find())
        except RespoolError as error:
            yield Finding(what, "bad", str(error))


def _gpu() -> Finding:
    cards = gpus()
    if cards:
        return Finding("gpu", "ok", f"{len(cards)} NVIDIA")
    return Finding("gpu", "warn", f"none of NVIDIA's seen; workers compute on {os.cpu_count()} cores, or on MPS")


def _disks(settings: Settings) -> Iterator[Finding]:
    for what, place in (("state", settings.state), ("cache", settings.cache), ("scratch", settings.scratch)):
        folder = place.absolute() if place != Path() else settings.state
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        text = f"{free / 1e9:.0f} GB free at {folder}"
        if not os.access(folder, os.W_OK):
            yield Finding(
                f"disk for {what}", "bad", f"{folder} cannot be written; set RESPOOL_{what.upper()} to another"
            )
        elif free < _LOW_DISK:
            yield Finding(f"disk for {what}", "warn", f"{text}; make room, or set RESPOOL_{what.upper()} to another")
        else:
            yield Finding(f"disk for {what}", "ok", text)


def _weights(settings: Settings) -> Iterator[Finding]:
    found = verify_models((), settings)
    here = [result.name for result in found if result.state == "ready"]
    yield Finding("weights", "ok" if here else "warn", ", ".join(here) or "none here yet; `respool models fetch NAME`")
    yield from (Finding("weights", "bad", result.message) for result in found if result.state == "damaged")


def _cluster(settings: Settings) -> list[Finding]:
    """Redis and S3 of a cluster, examined side by side."""
    with ThreadPoolExecutor(2) as pool:
        return [
            finding for findings in pool.map(_guarded, ((_redis, settings), (_s3, settings))) for finding in findings
        ]


def _guarded(examination: tuple[Callable[[Settings], Iterator[Finding]], Settings]) -> list[Finding]:
    look, settings = examination
    what = look.__name__.strip("_")
    try:
        return list(look(settings))
    except RespoolError as error:
        return [Finding(what, "bad", str(error))]
    except (redis.RedisError, ValueError) as error:
        return [Finding(what, "bad", f"{type(error).__name__}: {error}; check RESPOOL_REDIS_URL and that it runs")]


def _redis(settings: Settings) -> Iterator[Finding]:
    with redis.Redis.from_url(
        settings.redis_url, decode_responses=True, socket_timeout=5, socket_connect_timeout=settings.connect_timeout_s
    ) as client:
        info = client.info()
        yield Finding("redis", "ok", str(info["redis_version"]))
        policy = info["maxmemory_policy"]
        if policy == "noeviction":
            yield Finding("redis eviction", "ok", policy)
        else:
            yield Finding("redis eviction", "bad", f"{policy} may drop leases and messages; set it to noeviction")
        if info["aof_enabled"] or info.get("rdb_last_save_time"):
            yield Finding("redis persistence", "ok", "append-only file" if info["aof_enabled"] else "snapshots")
        else:
            yield Finding(
                "redis persistence", "warn", "off: a restart costs a look through S3, no chunk; appendonly yes"
            )
        before = time.time()
        seconds, micros = client.time()
        skew = abs(seconds + micros / 1e6 - (before + time.time()) / 2)
        if skew < _CLOCK_S:
            yield Finding("clocks", "ok", f"{skew:.2f} s apart")
        else:
            yield Finding("clocks", "warn", f"this machine and Redis are {skew:.1f} s apart; run NTP on both")


def _s3(settings: Settings) -> Iterator[Finding]:
    storage = Storage(settings)
    storage.ensure_bucket()
    yield Finding("s3", "ok", f"{settings.s3_endpoint or 'AWS'}, bucket {settings.s3_bucket}")
    key = f"doctor/{secrets.token_hex(8)}"
    try:
        with ThreadPoolExecutor(8) as pool:
            won = sum(pool.map(lambda n: storage.put(key, bytes([n]), if_absent=True), range(8)))
        whole = storage.find(key) is not None
    finally:
        storage.delete(key)
    if won == 1 and whole:
        yield Finding("s3 conditional put", "ok", "one of 8 simultaneous writers won")
    else:
        yield Finding(
            "s3 conditional put",
            "bad",
            f"{won} of 8 simultaneous If-None-Match writers won; use a server that enforces it, or commits may collide",
        )
