"""The one process that starts an embedded cluster, restarts what crashes, and ends it all.

It stands alone between the command and the cluster: whatever happens to the command, the pipe on the
supervisor's stdin ends; whatever happens to the supervisor, the watchdog's pipe ends, and the kernel
signals the children (Linux). Single-threaded: every wait is one select over pipes, signals and times.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import msgspec

from contract import settings as settings_module
from contract.errors import RespoolError, UsageError
from contract.settings import Settings
from orchestrator.local import members, servers
from orchestrator.local.servers import Member
from orchestrator.local.state import Credentials, Folder, Life, Process, kill_group, started

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_READY_S = 15.0
_HEALTHY_S = 20.0  # a process that lived so long and then crashed starts its count of crashes afresh
_CRASHES = 5
_BACKOFF_MAX_S = 8.0


@dataclass
class Child:
    """A member and the process that currently is it."""

    member: Member
    process: subprocess.Popen[bytes] | None = None
    identity: str = ""
    born: float = 0.0
    crashes: int = 0
    again_at: float | None = None
    """When to start it again (monotonic), after a crash."""


@dataclass
class Supervisor:
    """See the module. `owner` is the pipe whose end means that the command which started us is gone."""

    folder: Folder
    settings: Settings
    workers: int
    flower: bool
    orchestrator: bool
    owner: int | None
    report: BinaryIO
    children: list[Child] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    stopping: bool = False
    ownerless: bool = False
    ready: bool = False
    watchdog: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Live until told to end; returns the exit code."""
        lock = self.folder.hold("lock", exclusive=True)
        if lock is None:
            self._tell({"busy": True})
            return 0
        self._listen()
        temporary = Path(tempfile.mkdtemp(prefix="respool-"))
        try:
            self.folder.sweep()
            shutil.rmtree(self.folder.scratch, ignore_errors=True)
            self.folder.make()
            self._watch_over(temporary)
            wired, credentials = self._start_servers(temporary)
            self._start_members(wired, credentials)
            self.ready = True
            self._record()
            self._tell({"ready": True})
            self._live()
        except _Stopped:
            pass
        except (RespoolError, OSError) as error:
            traceback.print_exc()
            self._tell({"error": str(error)})
            return 1
        finally:
            self._stop()
            for path in (self.folder.cluster, self.folder.credentials):
                path.unlink(missing_ok=True)
            shutil.rmtree(temporary, ignore_errors=True)
            if self.watchdog and self.watchdog.stdin:
                self.watchdog.stdin.close()
                self.watchdog.wait()
            lock.close()
        return 0

    # Starting

    def _start_servers(self, temporary: Path) -> tuple[Settings, Credentials]:
        """Redis and S3, side by side; again on other ports when somebody took one in the meantime."""
        password, access_key, secret_key = secrets.token_hex(24), secrets.token_hex(10), secrets.token_hex(24)
        bucket = self.settings.s3_bucket
        for last in (False, False, True):
            redis = servers.redis(self.folder.path / "redis", password)
            s3 = servers.seaweed(self.folder.path / "s3", temporary, bucket, access_key, secret_key)
            self.children = [Child(redis), Child(s3)]
            for child in self.children:
                self._spawn(child)
            self._record()
            dead = self._wait_ready(self.children)
            if dead is None:
                break
            if last:
                raise UsageError(f"{dead.name} does not start: {self._last_words(dead)}")
            self._end([child for child in self.children if child.process], grace=False)
        credentials = Credentials(
            redis_url=f"redis://:{password}@{servers.HOST}:{redis.port}/0",
            s3_endpoint=f"http://{servers.HOST}:{s3.port}",
            s3_access_key=access_key,
            s3_secret_key=secret_key,
            s3_bucket=bucket,
        )
        self.folder.write(self.folder.credentials, credentials)
        return self.folder.wire(self.settings)[0], credentials

    def _start_members(self, wired: Settings, credentials: Credentials) -> None:
        plan = [members.orchestrator(wired)] if self.orchestrator else []
        plan += [members.worker(wired, n, self.workers) for n in range(self.workers)]
        if self.flower:
            user, password = "respool", secrets.token_urlsafe(12)
            member = members.flower(wired, user, password)
            url = f"http://{servers.HOST}:{member.port}"
            self.folder.write(
                self.folder.credentials,
                msgspec.structs.replace(credentials, flower_url=url, flower_user=user, flower_password=password),
            )
            plan.append(member)
        for member in plan:
            child = Child(member)
            self.children.append(child)
            self._spawn(child)

    def _wait_ready(self, children: list[Child]) -> Member | None:
        """Wait until all serve; the first member that ended instead, or never answered, or None."""
        deadline = time.monotonic() + _READY_S
        waiting = list(children)
        while waiting:
            waiting = [child for child in waiting if not child.member.ready()]
            for child in children:
                if child.process is None or child.process.poll() is not None:
                    return child.member
            if time.monotonic() > deadline:
                return waiting[0].member if waiting else None
            if waiting:
                self._select(0.01)
            if self.stopping or self.ownerless:
                raise _Stopped
        return None

    def _spawn(self, child: Child) -> None:
        member = child.member
        with (self.folder.logs / f"{member.name}.log").open("ab") as log:
            child.process = subprocess.Popen(
                member.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=member.cwd,
                env={**os.environ, **member.env},
                start_new_session=True,  # Ctrl-C in the terminal is for the command, not for us
                preexec_fn=_die_with_parent(os.getpid()),
            )
        child.born, child.again_at = time.monotonic(), None
        child.identity = started(child.process.pid)
        self._watchdog_line(f"+{child.process.pid}")

    def _watch_over(self, temporary: Path | None) -> None:
        """Start the watchdog, or start it again, and tell it everything."""
        script = Path(__file__).with_name("watchdog.py")
        with (self.folder.logs / "watchdog.log").open("ab") as log:
            self.watchdog = subprocess.Popen(
                [sys.executable, "-I", "-S", str(script)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if temporary:
            self._temporary = temporary
        self._watchdog_line(f"={self._temporary}")
        for child in self.children:
            if child.process:
                self._watchdog_line(f"+{child.process.pid}")

    def _watchdog_line(self, line: str) -> None:
        assert self.watchdog is not None
        assert self.watchdog.stdin is not None
        with suppress(BrokenPipeError):  # it was killed: the next look starts another, which is told everything
            self.watchdog.stdin.write(line.encode() + b"\n")
            self.watchdog.stdin.flush()

    # Living

    def _live(self) -> None:
        while not self.stopping:
            now = time.monotonic()
            for child in self.children:
                if child.process and child.process.poll() is not None:
                    self._crashed(child, now)
                if child.again_at is not None and child.again_at <= now:
                    self._spawn(child)
                    self._record()
            if self.watchdog and self.watchdog.poll() is not None:
                self._watch_over(None)
                self._record()
            if self.ownerless and self._unused():
                return
            times = [child.again_at - now for child in self.children if child.again_at is not None]
            self._select(min([*times, 0.25] if self.ownerless else times, default=None))

    def _crashed(self, child: Child, now: float) -> None:
        """Clear what it left, and start it again: at once the first time, later each time after."""
        process, member = child.process, child.member
        assert process is not None
        kill_group(process.pid)
        self._watchdog_line(f"-{process.pid}")
        child.process = None
        child.crashes = 1 if now - child.born > _HEALTHY_S else child.crashes + 1
        print(f"{member.name} (pid {process.pid}) ended with {process.returncode}", file=sys.stderr, flush=True)  # noqa: T201 - the supervisor's log
        if child.crashes >= _CRASHES:
            self.problems.append(
                f"{member.name} ended {child.crashes} times soon after its start, last with code {process.returncode}; "
                f"its last words: {self._last_words(member)}"
            )
        else:
            child.again_at = now + min(_BACKOFF_MAX_S, (child.crashes - 1) * 0.5)
        self._record()

    def _last_words(self, member: Member) -> str:
        log = self.folder.logs / f"{member.name}.log"
        lines = [line for line in log.read_text(errors="replace").splitlines()[-50:] if line.strip()]
        return f"{lines[-1].strip()[:300] if lines else 'none'} (log: {log})"

    def _record(self) -> None:
        me = Process("supervisor", os.getpid(), 0, started(os.getpid()))
        dog = self.watchdog
        self.folder.write(
            self.folder.cluster,
            Life(
                processes=tuple(
                    Process(c.member.role, c.process.pid, c.member.port, c.identity) for c in self.children if c.process
                ),
                supervisor=me,
                watchdog=Process("watchdog", dog.pid, 0, started(dog.pid)) if dog else None,
                ready=self.ready,
                problems=tuple(self.problems),
            ),
        )

    def _unused(self) -> bool:
        """True once no command uses the cluster; from then on none can start to."""
        self._users = self.folder.hold("users", exclusive=True)
        return self._users is not None

    # Ending

    def _stop(self) -> None:
        """Workers and orchestrator first, so that they can hand back and store; the servers after them."""
        running = [child for child in self.children if child.process and child.process.poll() is None]
        self._end([child for child in running if child.member.role not in ("redis", "s3")])
        self._end([child for child in running if child.member.role in ("redis", "s3")])
        for child in self.children:
            if child.process:
                kill_group(child.process.pid)

    def _end(self, children: list[Child], grace: bool = True) -> None:
        """SIGTERM to each, SIGKILL to the groups of those that take longer than they may."""
        begun = time.monotonic()
        waiting = [child for child in children if child.process]
        for child in waiting:
            assert child.process is not None
            child.process.send_signal(signal.SIGTERM if grace else signal.SIGKILL)
        while waiting:
            now = time.monotonic()
            for child in waiting:
                assert child.process is not None
                if child.process.poll() is not None or now - begun > child.member.stop_s:
                    kill_group(child.process.pid)
                    child.process.wait()
                    self._watchdog_line(f"-{child.process.pid}")
            waiting = [c for c in waiting if c.process and c.process.returncode is None]
            if waiting:
                self._select(max(0.0, min(begun + c.member.stop_s - now for c in waiting) + 0.01))

    # Waiting

    def _listen(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wakeup, writer = socket.socketpair()
        for end in (self._wakeup, writer):
            end.setblocking(False)
        self._writer = writer
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)  # the number arrives through the wakeup socket
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        if self.owner is not None:
            self._selector.register(self.owner, selectors.EVENT_READ)

    def _select(self, timeout: float | None) -> None:
        """Wait for a signal, the owner's end or the timeout, and note what it was."""
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._wakeup:
                numbers = self._wakeup.recv(4096)
                if any(n in numbers for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)):
                    self.stopping = True
            elif self.owner is not None and os.read(self.owner, 1) == b"":
                self._selector.unregister(self.owner)
                self.owner, self.ownerless = None, True

    def _tell(self, message: dict[str, object]) -> None:
        if not self.report.closed:
            with suppress(BrokenPipeError):
                self.report.write(json.dumps(message).encode() + b"\n")
                self.report.close()


class _Stopped(Exception):
    """Raised when the end is asked for during the start."""


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """What a child runs before its program on Linux: be killed when the supervisor dies."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask


def main() -> None:
    """Entry point of the supervisor's process; see `orchestrator.local.cluster.start` for who calls it and how."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--flower", action="store_true")
    parser.add_argument("--no-orchestrator", action="store_true")
    parser.add_argument("--owned", action="store_true")
    parser.add_argument("--report", type=int, required=True)
    options = parser.parse_args()
    settings = settings_module.load()
    supervisor = Supervisor(
        folder=Folder(settings.state),
        settings=replace(settings, redis_url="", s3_endpoint=""),
        workers=options.workers,
        flower=options.flower,
        orchestrator=not options.no_orchestrator,
        owner=sys.stdin.fileno() if options.owned else None,
        report=open(options.report, "wb"),  # noqa: PTH123, SIM115 - a pipe; closed by the report itself
    )
    sys.exit(supervisor.run())


if __name__ == "__main__":
    main()
