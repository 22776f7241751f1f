"""The process that starts an embedded cluster, restarts what crashes, and ends it all.

It stands between the command and the cluster: when the command ends in any way, the pipe on the supervisor's stdin
ends; when the supervisor ends in any way, the watchdog's pipe ends, and the kernel signals the children (Linux).
Single-threaded: every wait is one select over pipes, signals and times.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import secrets
import selectors
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import BinaryIO

import msgspec

from contract import settings as settings_module
from contract.errors import RespoolError, UsageError
from contract.settings import Settings
from orchestrator.local import process_specs, servers
from orchestrator.local.children import Child, Children
from orchestrator.local.servers import Member
from orchestrator.local.state_folder import Credentials, Folder, Life, Process, Wanted, started
from stores.scratch import OwnFolder, sweep

_READY_S = 15.0
_SERVERS = ("redis", "s3")


@dataclass(frozen=True)
class Order:
    """Description of the cluster to start. With `keep` it outlives the command that starts it, once it is ready."""

    settings: Settings
    workers: int
    flower: bool
    orchestrator: bool
    keep: bool


class Supervisor:
    """Supervisor of one cluster. The end of the pipe `owner` means that the command which started it is gone."""

    def __init__(self, folder: Folder, order: Order, owner: int, report: BinaryIO) -> None:
        self._folder, self._order, self._owner, self._report = folder, order, owner, report
        self._stopping = self._ownerless = self._ready = self._rescale = False
        self._listen()

    def run(self) -> int:
        """Run until asked to end; return the exit code."""
        lock = self._folder.hold("lock", exclusive=True)
        if lock is None:
            self._tell({"busy": True})
            return 0
        os.dup(lock.fileno())  # never closed: a process that waits for the lock waits until this one is gone
        self._folder.sweep()
        self._folder.make()
        sweep(self._folder.scratch)
        self._temporary = OwnFolder(None)
        self._children = Children(self._folder.logs, self._temporary.path)
        try:
            self._children.guard()
            self._start(self._start_servers())
            self._ready = True
            self._record()
            if self._order.keep:
                self._selector.unregister(self._owner)
            self._tell({"ready": True})
            self._live()
        except _Stopped:
            pass
        except (RespoolError, OSError) as error:
            traceback.print_exc()
            self._tell({"error": str(error)})
            return 1
        finally:
            self._end()
        return 0

    def _start_servers(self) -> Credentials:
        """Start Redis and S3 side by side; try other ports when another process took one in the meantime.

        A Redis that cannot read its data starts without: all of it is rebuilt from S3.
        """
        password, access_key, secret_key = secrets.token_hex(24), secrets.token_hex(10), secrets.token_hex(24)
        bucket, path = self._order.settings.s3_bucket, self._folder.path
        for last in (False, False, True):
            redis = servers.redis(path / "redis", password)
            s3 = servers.seaweed(path / "s3", self._children.temporary, bucket, access_key, secret_key)
            born = [self._children.start(member) for member in (redis, s3)]
            self._record()
            failed = self._wait_ready(born)
            if failed is None:
                break
            if last:
                raise UsageError(
                    f"{failed.name} does not start; the last line of its log: {self._children.last_log_line(failed)}"
                )
            self._children.end(born, self._select, grace=False)
            self._children.children.clear()
            if failed.role == "redis" and (aside := servers.set_aside(path / "redis")):
                print(f"Redis' data were set aside, in {aside}", file=sys.stderr, flush=True)  # noqa: T201 - the log
        return Credentials(
            redis_url=f"redis://:{password}@{servers.HOST}:{redis.port}/0",
            s3_endpoint=f"http://{servers.HOST}:{s3.port}",
            s3_access_key=access_key,
            s3_secret_key=secret_key,
            s3_bucket=bucket,
        )

    def _wait_ready(self, children: list[Child]) -> Member | None:
        """Wait until all serve; return the first that ended or did not answer in time, or None."""
        deadline = time.monotonic() + _READY_S
        waiting = children
        while waiting := [child for child in waiting if not child.member.ready()]:
            dead = [child for child in children if not child.running]
            if dead or time.monotonic() > deadline:
                return (dead or waiting)[0].member
            self._select(0.01)
            if self._stopping or self._ownerless:
                raise _Stopped
        return None

    def _start(self, credentials: Credentials) -> None:
        """Start everything but the servers. The credentials are on disk before any process needs them."""
        order = self._order
        self._folder.write(self._folder.credentials, credentials)
        wired = self._wired = self._folder.wire(order.settings)[0]
        if order.orchestrator:
            self._children.start(process_specs.orchestrator(wired))
        for n in range(order.workers):
            self._children.start(process_specs.worker(wired, n, order.workers))
        if order.flower:
            user, password = "respool", secrets.token_urlsafe(12)
            member = process_specs.flower(wired, user, password)
            self._children.start(member)
            url = f"http://{servers.HOST}:{member.port}"
            login = msgspec.structs.replace(credentials, flower_url=url, flower_user=user, flower_password=password)
            self._folder.write(self._folder.credentials, login)

    def _live(self) -> None:
        users: BinaryIO | None = None
        while not self._stopping:
            changed = self._children.tend()
            if self._rescale:
                self._rescale = False
                self._scale()
                changed = True
            if changed:
                self._record()
            if self._ownerless:
                users = self._folder.hold("users", exclusive=True)
                if users:  # no command uses the cluster, and from now on none can start to
                    self._users = users
                    return
            self._select(0.1 if self._ownerless else self._children.next_act_s)

    def _scale(self) -> None:
        """Adapt the number of workers to wanted.json: the newest leave and hand chunks back; new ones take free numbers."""
        wanted = msgspec.json.decode(self._folder.wanted.read_bytes(), type=Wanted).workers
        here = [c for c in self._children.children if c.member.role == "worker" and c.leave_by is None]
        for child in here[wanted:]:
            self._children.retire(child)
        names = {c.member.name for c in self._children.children}
        free = (n for n in itertools.count() if f"worker-{n}" not in names)
        for _ in range(wanted - len(here)):
            self._children.start(process_specs.worker(self._wired, next(free), wanted))

    def _record(self) -> None:
        """Write the running processes to cluster.json."""
        me = Process("supervisor", os.getpid(), 0, started(os.getpid()))
        family = self._children
        self._folder.write(
            self._folder.cluster,
            Life(family.processes, me, family.watchdog, self._ready, tuple(family.problems), str(family.temporary)),
        )

    def _end(self) -> None:
        """End workers and orchestrator first, so that they can hand back and store; the servers after them."""
        family = self._children
        family.end([child for child in family.children if child.member.role not in _SERVERS], self._select)
        family.end([child for child in family.children if child.member.role in _SERVERS], self._select)
        family.dismiss_watchdog()
        for path in (self._folder.cluster, self._folder.credentials, self._folder.wanted):
            path.unlink(missing_ok=True)

    def _listen(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._signals = socket.socketpair()
        for end in (self._wakeup, self._signals):
            end.setblocking(False)
        signal.set_wakeup_fd(self._signals.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, lambda *_: None)  # the number arrives through the wakeup socket
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        self._selector.register(self._owner, selectors.EVENT_READ)

    def _select(self, timeout: float | None) -> None:
        """Wait for a signal, the owner's end or the timeout, and record which it was."""
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._wakeup:
                numbers = self._wakeup.recv(4096)
                if any(n in numbers for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)):
                    self._stopping = True
                self._rescale |= signal.SIGUSR1 in numbers
            elif os.read(self._owner, 1) == b"":
                self._selector.unregister(self._owner)
                self._ownerless = True

    def _tell(self, message: dict[str, object]) -> None:
        """Answer the command that started us; only the first answer counts."""
        if not self._report.closed:
            with suppress(BrokenPipeError), self._report:
                self._report.write(json.dumps(message).encode() + b"\n")


class _Stopped(Exception):
    """Raised when the supervisor is asked to end during the start."""


def main() -> None:
    """Run the supervisor's process; `orchestrator.local.cluster.start` starts it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--flower", action="store_true")
    parser.add_argument("--no-orchestrator", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--report", type=int, required=True)
    options = parser.parse_args()
    if os.fork():  # detached: it may outlive the command that starts it, and leaves that one no zombie
        os._exit(0)
    settings = replace(settings_module.load(), redis_url="", broker_url="", s3_endpoint="")
    order = Order(settings, options.workers, options.flower, not options.no_orchestrator, options.keep)
    report = open(options.report, "wb")  # noqa: PTH123, SIM115 - a pipe; closed by the answer itself
    sys.exit(Supervisor(Folder(settings.state), order, sys.stdin.fileno(), report).run())


if __name__ == "__main__":
    main()
