"""Faults at one call to S3, Redis or the queue: the n-th call of a trial fails, loses its answer, or ends its process.

Calls are met where the products' own handling of errors begins: in boto3's client and in redis-py's `execute_command`, above their
own retries. Only calls made inside `counting` are counted and disturbed, so that a trial can look on undisturbed.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import resources
from types import SimpleNamespace
from typing import Any, Literal, TypeVar, cast
from unittest.mock import patch

import boto3
import redis
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from redis.client import Pipeline, Redis
from redis.lock import Lock

from contract.errors import Unreachable
from stores import boto_storage, storage

R = TypeVar("R")

Mode = Literal["before", "after", "repeated", "outage", "killed", "reader killed", "delayed"]
"""The call fails without effect; takes effect and answers an error; takes effect, loses its answer and is repeated by the client;
that server is away from here to the end of the step; the process is killed before it; the process that reads media is killed, and
the orchestrator lives; the process stands still before it until all others came to rest."""

READS: tuple[Mode, ...] = ("before", "outage", "killed", "delayed")
WRITES: tuple[Mode, ...] = ("before", "after", "repeated", "outage", "killed", "delayed")

_WRITING = {"put_object", "delete_object", "copy_object", "upload_file", "copy", "publish", "pipeline"}
_READING = {
    "GET", "HGET", "HGETALL", "LRANGE", "ZCARD", "ZRANGE", "ZREVRANGE", "ZRANGEBYSCORE", "SMEMBERS", "TIME", "SCAN", "EXISTS", "PING"
}  # fmt: skip


class ProcessKilled(BaseException):
    """Raised where a trial kills a process; nothing of the product catches it."""


@dataclass(frozen=True)
class Point:
    """One call: its server, what it does, and whether it changes something there."""

    server: Literal["s3", "redis", "queue"]
    what: str
    writes: bool
    reader: bool
    """True for calls of the process that reads media."""

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Every way in which this call is disturbed."""
        modes = WRITES if self.writes else READS
        return (*modes, "reader killed") if self.reader else modes


def _scripts() -> dict[str, str]:
    """Return the names of all Lua scripts by their SHA-1."""
    folder = resources.files("stores") / "lua"
    tries = (folder / "tries.lua").read_text()
    found = {}
    for name in ("claim", "renew", "release", "settle", "dispatch", "reconcile", "revive", "create", "ask", "close"):
        for text in ((folder / f"{name}.lua").read_text(), tries + (folder / f"{name}.lua").read_text()):
            found[hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()] = name
    for name in ("RELEASE", "REACQUIRE", "EXTEND"):
        text = getattr(Lock, f"LUA_{name}_SCRIPT")
        found[hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()] = f"lock {name.lower()}"
    return found


@dataclass
class Calls:
    """All calls of one trial; with `at`, the call of that number is disturbed by `mode`."""

    at: int = -1
    mode: Mode = "before"
    points: list[Point] = field(default_factory=list)
    fired: bool = False
    dead: bool = False
    """True from a kill until the process' threads have ended."""
    stands: threading.Event = field(default_factory=threading.Event)
    """Set while a process stands still."""
    goes_on: threading.Event = field(default_factory=threading.Event)
    reading: int = 0
    """Processes that read media at this moment."""
    reader_dead: bool = False
    _active: bool = False
    _away: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _names: dict[str, str] = field(default_factory=_scripts)

    def arm(self, after: int, mode: Mode) -> None:
        """Disturb the call that comes `after` so many more counted ones."""
        self.at, self.mode, self.fired = len(self.points) + after, mode, False

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count and disturb calls; an outage ends with it."""
        self._active = True
        try:
            yield
        finally:
            self._active, self._away, self.dead = False, "", False

    @contextmanager
    def outside_reader(self) -> Iterator[None]:
        """Say that the orchestrator itself makes the calls meanwhile."""
        before, self.reading = self.reading, 0
        try:
            yield
        finally:
            self.reading = before

    @contextmanager
    def reader(self) -> Iterator[None]:
        """Say that the process that reads media makes the calls meanwhile."""
        self.reading += 1
        try:
            yield
        finally:
            self.reading -= 1
            self.reader_dead = False

    def through(self, server: Literal["s3", "redis", "queue"], what: str, writes: bool, call: Callable[[], R]) -> R:
        """Make `call`, disturbed where it is the one."""
        if self.dead or (self.reader_dead and self.reading):
            raise ProcessKilled
        if not self._active:
            return call()
        with self._lock:
            hit = not self.fired and len(self.points) == self.at
            if not self.fired:
                self.points.append(Point(server, what, writes, self.reading > 0))
            self.fired |= hit
            away = self._away == server
        if away:
            raise _error(server, what, before=True)
        return self._disturbed(server, what, call) if hit else call()

    def _disturbed(self, server: Literal["s3", "redis", "queue"], what: str, call: Callable[[], R]) -> R:
        if self.mode == "killed":
            self.dead = True
            raise ProcessKilled
        if self.mode == "reader killed":
            self.reader_dead = True
            raise ProcessKilled
        if self.mode == "delayed":
            self.stands.set()
            self.goes_on.wait()
            return call()
        if self.mode == "outage":
            self._away = server
        if self.mode in ("before", "outage"):
            raise _error(server, what, before=True)
        answer = call()
        if self.mode == "after":
            raise _error(server, what, before=False)
        if server == "s3":  # Storage repeats it
            raise ReadTimeoutError(endpoint_url="http://faulty")
        return answer if server == "queue" else call()

    def redis_name(self, args: tuple[Any, ...]) -> str:
        """Return a command's name; a script's own."""
        return self._names.get(str(args[1]), "script") if args[0] in ("EVALSHA", "EVAL") else str(args[0])


def _error(server: str, what: str, before: bool) -> Exception:
    """Return an error that the product does not repeat; those before and after a call's effect differ in kind."""
    if server == "queue":
        return Unreachable("the broker does not take messages (injected); check RESPOOL_BROKER_URL.")
    if server == "redis":
        return redis.ConnectionError("injected") if before else redis.TimeoutError("injected")
    if before:
        return ClientError({"Error": {"Code": "RequestExpired", "Message": "injected"}}, what)
    return EndpointConnectionError(endpoint_url="http://faulty")


class _Client:
    """A client of S3 whose calls go through `calls`."""

    def __init__(self, client: Any, calls: Callable[[], Calls]) -> None:
        self._client, self._calls = client, calls

    def __getattr__(self, name: str) -> Any:
        """Return one of the client's methods, disturbed."""
        method = getattr(self._client, name)
        if name == "get_paginator":
            return lambda operation: _Pages(method(operation), self._calls)

        def call(**wanted: Any) -> Any:
            what = f"{name} {wanted.get('Key') or wanted.get('Prefix') or ''}"
            return self._calls().through("s3", what, name in _WRITING, lambda: method(**_fresh(wanted)))

        return call


def _fresh(wanted: dict[str, Any]) -> dict[str, Any]:
    """Rewind a body that is a file: a repeated call sends it again."""
    body = wanted.get("Body")
    if body is not None and not isinstance(body, bytes):
        body.seek(0)
    return wanted


class _Pages:
    def __init__(self, paginator: Any, calls: Callable[[], Calls]) -> None:
        self._paginator, self._calls = paginator, calls

    def paginate(self, **wanted: Any) -> Iterator[Any]:
        """Yield all pages, got by one disturbed call."""
        what = f"list_objects_v2 {wanted.get('Prefix', '')}"
        yield from self._calls().through("s3", what, False, lambda: list(self._paginator.paginate(**wanted)))


@contextmanager
def disturbed(calls: Callable[[], Calls], client: Any | None) -> Iterator[None]:
    """Send every call to S3 and Redis through `calls()`; `client` takes the place of boto3's, None keeps it."""
    session: Any = boto3.session.Session
    execute, pipeline = Redis.execute_command, Pipeline.execute

    class Session:
        def __init__(self, **wanted: Any) -> None:
            self._wanted = wanted

        def client(self, name: str, **wanted: Any) -> Any:
            return _Client(client or session(**self._wanted).client(name, **wanted), calls)

    def command(self: Redis, *args: Any, **options: Any) -> Any:
        now = calls()
        name = now.redis_name(args)
        return now.through("redis", name, args[0] not in _READING, lambda: cast(Any, execute)(self, *args, **options))

    def commands(self: Any, raise_on_error: bool = True) -> Any:
        queued = list(self.command_stack)

        def call() -> Any:
            self.command_stack = list(queued)
            return pipeline(self, raise_on_error)

        writes = any(each[0][0] not in _READING for each in queued)
        return calls().through("redis", "pipeline " + " ".join(str(each[0][0]) for each in queued), writes, call)

    with ExitStack() as stack:
        stack.enter_context(patch.object(boto3.session, "Session", Session))
        stack.enter_context(
            patch.object(storage, "QuickS3", lambda *_: None)
        )  # boto3's calls are those that are counted
        stack.enter_context(patch.object(boto_storage, "time", SimpleNamespace(sleep=lambda _: None)))
        stack.enter_context(patch.object(Redis, "execute_command", command))
        stack.enter_context(patch.object(Pipeline, "execute", commands))
        yield
