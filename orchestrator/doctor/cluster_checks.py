"""Checks of a cluster: its Redis, S3, broker and workers do what Respool relies on, or a finding says what to do."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import redis
from msgspec import Struct

from contract.errors import IntegrityError, RespoolError
from contract.settings import Settings
from orchestrator.service.publisher import Publisher
from stores import addresses
from stores.ledger import Ledger
from stores.storage import Storage

_CLOCK_S = 2.0
"""Seconds. Leases depend on Redis' clock alone; a larger skew makes times in logs and results hard to compare."""

_REFUSED_S = 300.0
"""Seconds. S3 refuses requests signed more than 15 minutes from its own time; a third of that leaves too little margin."""

_WRITERS = 8
_ROUNDS = 4
_OLDEST_REDIS = (6, 2)


class Finding(Struct, frozen=True, omit_defaults=True):
    """One check. `detail` states the finding and, unless the verdict is ok, what to do; `facts` are its figures where it has some."""

    what: str
    verdict: Literal["ok", "warn", "bad"]
    detail: str
    facts: dict[str, Any] = {}


def examine_cluster(settings: Settings) -> list[Finding]:
    """Run all checks side by side; they change nothing but test objects, which they remove again."""
    looks = (_redis, _s3, _broker, _workers)
    with ThreadPoolExecutor(len(looks)) as pool:
        return [finding for found in pool.map(lambda look: _guarded(look, settings), looks) for finding in found]


def _guarded(look: Callable[[Settings], Iterator[Finding]], settings: Settings) -> list[Finding]:
    what = look.__name__.strip("_")
    try:
        return list(look(settings))
    except RespoolError as error:
        return [Finding(what, "bad", str(error))]
    except redis.RedisError as error:
        return [Finding(what, "bad", f"{type(error).__name__}: {error}; check RESPOOL_REDIS_URL and that it runs")]


def _redis(settings: Settings) -> Iterator[Finding]:
    Ledger(settings).ping()  # raises Unreachable in one sentence
    with addresses.client(
        settings, decode_responses=True, socket_timeout=5, socket_connect_timeout=settings.connect_timeout_s
    ) as client:
        info = client.info()
        found = str(info["redis_version"])
        old = tuple(int(part) for part in found.split(".")[:2]) < _OLDEST_REDIS
        yield Finding("redis", "bad" if old else "ok", f"{found}; 6.2 or later is needed" if old else found)
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
        yield _login(settings)
        before = time.time()
        seconds, micros = client.time()
        skew = abs(seconds + micros / 1e6 - (before + time.time()) / 2)
        if skew < _CLOCK_S:
            yield Finding("clocks", "ok", f"{skew:.2f} s apart")
        else:
            yield Finding("clocks", "warn", f"this machine and Redis are {skew:.1f} s apart; run NTP on both")


def _login(settings: Settings) -> Finding:
    """Check that Redis asks for a password: anybody who can write to it can publish and withhold work."""
    wanted = addresses.parse(settings.redis_url)
    if wanted.password is None:
        return Finding(
            "redis login", "warn", "no password is asked for; set requirepass and put it in RESPOOL_REDIS_URL"
        )
    if wanted.tls is None and not all(host in ("127.0.0.1", "::1", "localhost") for host, _ in wanted.hosts):
        return Finding("redis login", "warn", "a password over a network without TLS; use rediss:// or sentinels://")
    return Finding("redis login", "ok", "password" + (" over TLS" if wanted.tls is not None else " on this machine"))


def _s3(settings: Settings) -> Iterator[Finding]:
    storage = Storage(settings)
    storage.ensure_bucket()
    yield Finding("s3", "ok", f"{settings.s3_endpoint or 'AWS'}, bucket {settings.s3_bucket}")
    yield from _s3_clock(settings)
    prefix = f"doctor/{secrets.token_hex(8)}"
    try:
        yield _conditional_put(storage, prefix)
        yield _conditional_replace(storage, f"{prefix}/replaced")
        yield _promises(storage, f"{prefix}/whole")
    finally:
        for key, _ in list(storage.list(prefix)):
            storage.delete(key)


def _s3_clock(settings: Settings) -> Iterator[Finding]:
    if not settings.s3_endpoint:
        return  # AWS keeps its own
    try:
        answer = urlopen(Request(settings.s3_endpoint, method="HEAD"), timeout=settings.connect_timeout_s)  # noqa: S310 - the operator's own address
    except HTTPError as refused:
        answer = refused  # an unsigned request is refused, but the answer has a Date
    except OSError as error:
        yield Finding("s3 clock", "warn", f"{settings.s3_endpoint} gave no time ({error}); look at its certificate")
        return
    with answer:
        said = answer.headers.get("Date")
    if said is None:
        return
    skew = abs(parsedate_to_datetime(said).timestamp() - time.time())
    if skew < _REFUSED_S:
        yield Finding("s3 clock", "ok", f"within {max(1, round(skew))} s")
    else:
        yield Finding(
            "s3 clock", "bad", f"this machine and S3 are {skew:.0f} s apart, and S3 soon refuses; run NTP on both"
        )


def _conditional_put(storage: Storage, prefix: str) -> Finding:
    """Check that of simultaneous conditional writers exactly one wins and its bytes stay: commits rely on it."""
    with ThreadPoolExecutor(_WRITERS) as pool:
        for round_ in range(_ROUNDS):
            key = f"{prefix}/{round_}"
            won = list(pool.map(lambda n, key=key: storage.put(key, bytes([n]), if_absent=True), range(_WRITERS)))
            kept = storage.get(key)
            # No winner is acceptable: a write that the network repeated meets its own first copy.
            if won.count(True) > 1 or (True in won and not won[kept[0]]):
                return Finding(
                    "s3 conditional put",
                    "bad",
                    f"{won.count(True)} of {_WRITERS} simultaneous If-None-Match writers were told they won; use a server "
                    "that enforces it, or commits may collide",
                )
    return Finding(
        "s3 conditional put", "ok", f"one of {_WRITERS} simultaneous writers won, in each of {_ROUNDS} rounds"
    )


def _conditional_replace(storage: Storage, key: str) -> Finding:
    """Check that of simultaneous If-Match writers one wins, and that a stale or absent ETag is refused: plans and requests rely on it."""
    storage.put(key, b"first")
    _, tag = storage.tagged(key) or (b"", "")
    with ThreadPoolExecutor(_WRITERS) as pool:
        won = list(pool.map(lambda n: storage.swap(key, bytes([n]), tag), range(_WRITERS)))
    kept = storage.get(key)
    broken = []
    if won.count(True) != 1 or not won[kept[0]]:
        broken.append(f"{won.count(True)} of {_WRITERS} simultaneous If-Match writers were told they won")
    if storage.swap(key, b"late", tag) or storage.get(key) != kept:
        broken.append("a stale ETag replaced a newer object")
    storage.delete(key)
    if storage.swap(key, b"gone", tag):
        broken.append("If-Match wrote an object that was not there")
    if broken:
        return Finding(
            "s3 conditional replace", "bad", f"{'; '.join(broken)}; use a server that enforces If-Match on PUT"
        )
    return Finding(
        "s3 conditional replace", "ok", f"one of {_WRITERS} simultaneous writers won, stale ones were refused"
    )


def _promises(storage: Storage, key: str) -> Finding:
    """Check reads and lists after a write and an overwrite, ranges, metadata, and absence after removal."""
    broken = []
    storage.put(key, b"first")
    storage.put(key, b"second")
    try:
        if storage.get(key) != b"second":
            broken.append("an overwritten object reads as before")
    except IntegrityError:
        broken.append("metadata do not belong to the bytes")
    found = storage.stat(key)
    if not found or not found[1]:
        broken.append("metadata are lost")
    if storage.read_range(key, 1, 4) != b"eco":
        broken.append("a range is not what was asked for")
    if (key, 6) not in list(storage.list(key)):
        broken.append("a list lacks what was just written")
    storage.delete(key)
    if storage.exists(key):
        broken.append("a removed object is still there")
    if broken:
        return Finding("s3 consistency", "bad", f"{'; '.join(broken)}; use a strongly consistent server")
    return Finding("s3 consistency", "ok", "reads, lists, ranges and metadata follow writes at once")


def _broker(settings: Settings) -> Iterator[Finding]:
    with closing(Publisher(settings)) as publisher:
        waiting = publisher.waiting()
    kind = settings.broker.partition("://")[0]
    yield Finding("broker", "ok", f"{kind}, {waiting} messages wait")


def _workers(settings: Settings) -> Iterator[Finding]:
    living = Ledger(settings).workers()
    if not living:
        yield Finding("workers", "warn", "none is alive; `respool scale N` starts some")
        return
    mine = version("respool")
    others = sorted({str(info.get("version", "?")) for info in living.values()} - {mine})
    if others:
        yield Finding(
            "workers",
            "warn",
            f"{len(living)} alive, some of version {', '.join(others)} beside this {mine}; finish the upgrade",
        )
    else:
        yield Finding("workers", "ok", f"{len(living)} alive, all of version {mine}")
