"""Attempts of a process that a hostile source has taken over: each either succeeds or raises.

`attempts(targets)` tries all of them from within a process; tests run it in the process that parses media, and without
confinement, where they succeed.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

Targets = Mapping[str, str]

_LIBC = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    """Make a system call by number (x86-64's); raise OSError where it fails."""
    result = int(_LIBC.syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _read(path: str) -> None:
    with open(path, "rb") as stream:  # noqa: PTH123 - as plain as can be
        stream.read(1)


def _connect(address: str) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), 2).close()


def _find_secret(targets: Targets) -> None:
    """Look for the value of a secret in the environment, apart from the variable by which the test names it."""
    values = [value for value in os.environ.values() if targets["secrets"] not in value]
    if not any(secret in value for secret in targets["secrets"].split() for value in values):
        raise PermissionError(1, "no secret is there")


def _share_memory(_: Targets) -> None:
    found = _call(29, 0, 4096, 0o1600)
    _call(31, found, 0, None)  # removed again


def _fork(_: Targets) -> None:
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _list(path: str) -> None:
    os.listdir(path)  # noqa: PTH208 - as plain as can be


def _append(path: str) -> None:
    with open(path, "ab") as stream:  # noqa: PTH123
        stream.write(b"")


ATTEMPTS: dict[str, Callable[[Targets], object]] = {
    "find a secret in its environment": _find_secret,
    "read /proc/PARENT/environ": lambda _: _read(f"/proc/{os.getppid()}/environ"),
    "open /proc/PARENT/mem": lambda _: os.close(os.open(f"/proc/{os.getppid()}/mem", os.O_RDWR)),
    "list /proc/PARENT/fd": lambda _: _list(f"/proc/{os.getppid()}/fd"),
    "read the embedded cluster's credentials": lambda targets: _read(targets["credentials"]),
    "read the user's key file": lambda targets: _read(targets["keys"]),
    "read /etc/passwd": lambda _: _read("/etc/passwd"),
    "list the home folder": lambda _: _list(str(Path.home())),
    "list the scratch space of others": lambda targets: _list(targets["scratch"]),
    "write the scratch space of others": lambda targets: _append(targets["scratch"] + "/other"),
    "write a file outside its folder": lambda targets: _append(targets["outside"] + "/new"),
    "overwrite a file outside its folder": lambda targets: _append(targets["keys"]),
    "remove a file outside its folder": lambda targets: os.unlink(targets["outside"] + "/victim"),  # noqa: PTH108
    "truncate a file outside its folder": lambda targets: os.truncate(targets["keys"], 4),
    "change the mode of a file": lambda targets: os.chmod(targets["keys"], 0o600),  # noqa: PTH101
    "change the time of a file": lambda targets: os.utime(targets["keys"]),
    "link a file to elsewhere": lambda targets: os.symlink(targets["keys"], targets["outside"] + "/link"),  # noqa: PTH211
    "connect to Redis": lambda targets: _connect(targets["redis"]),
    "connect to S3": lambda targets: _connect(targets["s3"]),
    "listen on a port": lambda _: socket.create_server(("127.0.0.1", 0)).close(),
    "send a datagram": lambda _: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
    "open a Unix socket": lambda _: socket.socket(socket.AF_UNIX).close(),
    "resolve a name": lambda _: socket.getaddrinfo("localhost", 80),
    "run a program": lambda _: subprocess.run(["/bin/true"], check=True),
    "start a process": _fork,
    "signal its parent": lambda _: os.kill(os.getppid(), 0),
    "trace its parent": lambda _: _call(101, 0x4206, os.getppid(), None, None),
    "take a descriptor of its parent": lambda _: os.close(os.pidfd_open(os.getppid())),
    "change its parent's limits": lambda _: _call(302, os.getppid(), 7, None, None),
    "make a user namespace": lambda _: _call(272, 0x10000000),
    "use shared memory": _share_memory,
    "load a BPF program": lambda _: _call(321, 0, None, 0),
    "use io_uring": lambda _: _call(425, 1, ctypes.create_string_buffer(120)),
    "type at the terminal": lambda _: fcntl.ioctl(2, 0x5412, b"x"),
}
"""Attempts by name. Each raises OSError where it is refused."""


def attempts(targets: Targets) -> dict[str, str]:
    """Try all; return the outcomes: ``done``, or the error's class and text."""
    found = {}
    for name, attempt in ATTEMPTS.items():
        try:
            attempt(targets)
        except OSError as error:
            found[name] = f"{type(error).__name__}: {error.strerror or error}"
        else:
            found[name] = "done"
    return found
