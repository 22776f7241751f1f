"""The supervisor's child processes: started, counted, restarted, and ended with everything they started themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.local.servers import Member
from orchestrator.local.state_folder import Process, kill_group, started
from stores.processes import death_signal

_HEALTHY_S = 20.0  # a process that crashes after living this long starts a new count of crashes
_CRASHES = 5
_BACKOFF_S = 0.5


@dataclass
class Child:
    """A member and its current process.

    `again_at` is the time of its next start after a crash, `leave_by` the deadline of one that was asked to leave.
    """

    member: Member
    process: subprocess.Popen[bytes] | None = None
    identity: str = ""
    born: float = 0.0
    crashes: int = 0
    again_at: float | None = None
    leave_by: float | None = None

    @property
    def running(self) -> bool:
        """True while the process runs."""
        return self.process is not None and self.process.poll() is None


@dataclass
class Children:
    """All children, and the watchdog that ends them if this process dies without doing so. `logs` is a folder."""

    logs: Path
    temporary: Path
    children: list[Child] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _watchdog: subprocess.Popen[bytes] | None = None

    @property
    def processes(self) -> tuple[Process, ...]:
        """The running processes, for cluster.json."""
        return tuple(
            Process(c.member.role, c.process.pid, c.member.port, c.identity) for c in self.children if c.process
        )

    @property
    def watchdog(self) -> Process | None:
        """The watchdog, for cluster.json."""
        return Process("watchdog", self._watchdog.pid, 0, started(self._watchdog.pid)) if self._watchdog else None

    def start(self, member: Member) -> Child:
        """Start a member."""
        child = Child(member)
        self.children.append(child)
        self._start(child)
        return child

    def retire(self, child: Child) -> None:
        """Ask a child to leave for good, without waiting: `tend` reaps it, or kills it when it takes too long."""
        if child.process is None:
            self.children.remove(child)  # it had crashed; now it is not started again
            return
        child.leave_by = time.monotonic() + child.member.stop_s
        child.process.terminate()

    def tend(self) -> bool:
        """Restart crashed children whose time has come and reap those that left; return True when anything changed."""
        now = time.monotonic()
        changed = False
        for child in list(self.children):
            if child.leave_by is not None:
                if not child.running or child.leave_by <= now:
                    self._reap(child)
                    self.children.remove(child)
                    changed = True
                continue
            if child.process is not None and not child.running:
                self._crashed(child, now)
                changed = True
            if child.again_at is not None and child.again_at <= now:
                self._start(child)
                changed = True
        if self._watchdog is not None and self._watchdog.poll() is not None:
            self.guard()
            changed = True
        return changed

    @property
    def next_act_s(self) -> float | None:
        """Return the seconds until the next restart or kill; None when none is due."""
        times = [at for child in self.children for at in (child.again_at, child.leave_by) if at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def end(self, children: Sequence[Child], wait: Callable[[float], None], grace: bool = True) -> None:
        """Send SIGTERM to each, then SIGKILL to the groups of those that exceed their time. `wait` sleeps or is woken."""
        begun = time.monotonic()
        waiting = [child for child in children if child.process is not None]
        for child in waiting:
            assert child.process is not None
            child.again_at = None
            with suppress(ProcessLookupError):
                child.process.send_signal(signal.SIGTERM if grace else signal.SIGKILL)
        while waiting:
            now = time.monotonic()
            for child in list(waiting):
                if not child.running or now - begun > child.member.stop_s:
                    self._reap(child)
                    waiting.remove(child)
            if waiting:
                wait(max(0.0, begun + min(c.member.stop_s for c in waiting) - now) + 0.01)

    def guard(self) -> None:
        """Start or restart the watchdog, and send it every process group."""
        with (self.logs / "watchdog.log").open("ab") as log:
            self._watchdog = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(__file__).with_name("watchdog.py"))],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._report(f"={self.temporary}")
        for child in self.children:
            if child.process:
                self._report(f"+{child.process.pid}")

    def dismiss_watchdog(self) -> None:
        """Dismiss the watchdog when no process is left: it removes the temporary folder and exits."""
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
            self._watchdog.wait()

    def last_log_line(self, member: Member) -> str:
        """Return the last line of a member's log, and the log's path."""
        log = self.logs / f"{member.name}.log"
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines()[-50:] if line.strip()]
        return f"{lines[-1][:300] if lines else 'none'} (log: {log})"

    def _start(self, child: Child) -> None:
        member = child.member
        with (self.logs / f"{member.name}.log").open("ab") as log:
            child.process = subprocess.Popen(
                member.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=member.cwd,
                env={**os.environ, **member.env},
                start_new_session=True,  # Ctrl-C in the terminal is for the command, not for us
                preexec_fn=death_signal(os.getpid()),
            )
        child.born, child.again_at = time.monotonic(), None
        child.identity = started(child.process.pid)
        self._report(f"+{child.process.pid}")

    def _crashed(self, child: Child, now: float) -> None:
        """Reap its group and plan its next start: at once the first time, with growing delays after that."""
        assert child.process is not None
        code = child.process.returncode
        self._reap(child)
        child.crashes = 1 if now - child.born > _HEALTHY_S else child.crashes + 1
        print(f"{child.member.name} ended with {code}, {child.crashes} times in a row", file=sys.stderr, flush=True)  # noqa: T201 - the supervisor's log
        if child.crashes < _CRASHES:
            child.again_at = now + (child.crashes - 1) * _BACKOFF_S
        else:
            self.problems.append(
                f"{child.member.name} ended {_CRASHES} times soon after its start, at last with code {code}; "
                f"the last line of its log: {self.last_log_line(child.member)}"
            )

    def _reap(self, child: Child) -> None:
        """Kill what is left of a child's process group."""
        assert child.process is not None
        kill_group(child.process.pid)
        child.process.wait()
        self._report(f"-{child.process.pid}")
        child.process = None

    def _report(self, line: str) -> None:
        assert self._watchdog is not None
        assert self._watchdog.stdin is not None
        with suppress(BrokenPipeError):  # it was killed: the next round starts another, which gets every process group
            self._watchdog.stdin.write(line.encode() + b"\n")
            self._watchdog.stdin.flush()
