"""Start, use and end an embedded cluster: the interface of the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO

from contract.errors import Unreachable, UsageError
from contract.programs import Program, command_line
from contract.settings import Settings
from orchestrator.local.process_specs import default_workers
from orchestrator.local.state_folder import MAX_WORKERS, Credentials, Folder, Life, Process, Wanted, kill_group

_START_S = 40.0
_STOP_S = 30.0


@dataclass
class Cluster:
    """A running embedded cluster and the `settings` that reach it; as a context manager, it is released at the end.

    Release ends a cluster that was started for this command alone, unless another command uses it by then. A cluster
    that was kept (`up`), or started by another command, goes on running.
    """

    settings: Settings
    credentials: Credentials
    folder: Folder
    _users: BinaryIO | None = field(default=None, repr=False)
    _hold: BinaryIO | None = field(default=None, repr=False)

    @property
    def life(self) -> Life:
        """The running processes, and the problems of those that keep crashing; empty when the cluster has ended."""
        return self.folder.life() or Life()

    @property
    def processes(self) -> tuple[Process, ...]:
        """The running processes."""
        return self.life.processes

    @property
    def owned(self) -> bool:
        """True when this cluster was started for this command alone."""
        return self._hold is not None

    def release(self) -> None:
        """Release the cluster; if it was this command's alone, return when its processes have ended."""
        if self._users:
            self._users.close()
            self._users = None
        hold, self._hold = self._hold, None
        if hold is None:
            return
        hold.close()
        supervisor = self.life.supervisor
        _wait(
            lambda: self._others() or not (self.folder.lived_in or (supervisor and supervisor.alive)),
            _STOP_S,
            f"the cluster in {self.folder.path} to end",
        )

    def _others(self) -> bool:
        """Return True when another command uses the cluster and so keeps it alive."""
        alone = self.folder.hold("users", exclusive=True)
        if alone:
            alone.close()
            return False
        shared = self.folder.hold("users", exclusive=False)
        if shared:
            shared.close()
        return shared is not None  # else the supervisor holds it exclusively: it is ending

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def start(
    settings: Settings,
    workers: int | None = None,
    flower: bool = False,
    keep: bool = False,
    orchestrator: bool = True,
) -> Cluster:
    """Attach to the cluster that runs in `settings.state`, or start a new one and wait until it is ready.

    `workers` None is one per GPU, or one without GPUs. With `keep` the cluster outlives this process (`respool up`).
    Raises UsageError when the folder or a server cannot be used.
    """
    count = default_workers() if workers is None else workers
    if not 0 <= count <= MAX_WORKERS:
        raise UsageError(f"{count} workers asked for; give a number from 0 to {MAX_WORKERS}.")
    folder = Folder(settings.state.expanduser().absolute())
    folder.make()
    deadline = time.monotonic() + _START_S
    while True:
        found = attach(settings)
        if found:
            return found
        hold, answer = _launch(folder, settings, count, flower, keep, orchestrator)
        if "ready" in answer and not keep:
            return _cluster(folder, settings, hold)
        hold.close()
        if "ready" in answer:
            return _cluster(folder, settings, None)
        if "error" in answer:
            raise UsageError(f"the embedded cluster in {folder.path} did not start: {answer['error']}")
        if time.monotonic() > deadline:  # it lost the race for the folder each time
            raise UsageError(
                f"state folder {folder.path} stays locked by another start; try again, or name another with --state."
            )


def _launch(
    folder: Folder, settings: Settings, workers: int, flower: bool, keep: bool, orchestrator: bool
) -> tuple[BinaryIO, dict[str, str]]:
    """Start a supervisor and wait for its one line: ready, busy or error. It notices our end by the pipe's end."""
    reader, writer = os.pipe()
    argv = command_line(Program.SUPERVISOR, "--workers", workers, "--report", writer)
    argv += ["--flower"] * flower + ["--no-orchestrator"] * (not orchestrator) + ["--keep"] * keep
    environment = {k: v for k, v in os.environ.items() if k != "RESPOOL_CONFIG"}  # these settings are complete
    environment |= settings.environment() | {"RESPOOL_STATE": str(folder.path)}
    theirs, ours = os.pipe()
    hold = open(ours, "wb")  # noqa: PTH123, SIM115 - a pipe, open as long as we are
    try:
        with open(reader, "rb") as report:  # noqa: PTH123 - a pipe
            try:
                with (folder.logs / "supervisor.log").open("ab") as log:
                    subprocess.run(
                        argv,
                        stdin=theirs,
                        stdout=log,
                        stderr=log,
                        env=environment,
                        pass_fds=[writer],
                        start_new_session=True,
                        check=False,
                    )
            finally:
                os.close(theirs)
                os.close(writer)
            line = report.readline()
    except BaseException:
        hold.close()
        _wait(lambda: not folder.lived_in, _STOP_S, f"the cluster in {folder.path} to end")
        raise
    log_file = folder.logs / "supervisor.log"
    answer: dict[str, str] = json.loads(line) if line else {"error": f"its supervisor ended early; see {log_file}."}
    return hold, answer


def attach(settings: Settings) -> Cluster | None:
    """Attach to the cluster that runs in `settings.state` and keep it from ending; None when there is none.

    Processes and files that a crashed cluster left behind are ended and removed first.
    """
    folder = Folder(settings.state.expanduser().absolute())
    if not folder.path.exists():
        return None
    ready: list[Cluster] = []

    def settled() -> bool:
        if not folder.lived_in:
            _forget(folder)
            return True
        life = folder.life()
        if life and life.ready:
            users = folder.hold("users", exclusive=False)
            if users:  # else it is ending: wait until it is gone
                ready.append(_cluster(folder, settings, None, users))
                return True
        return False

    _wait(settled, _START_S, f"the cluster in {folder.path} to be ready or gone")
    return ready[0] if ready else None


def stop(settings: Settings) -> bool:
    """End the cluster that runs in `settings.state`, even while it is used; return False when there was none."""
    folder = Folder(settings.state.expanduser().absolute())
    if not folder.path.exists():
        return False
    if not folder.lived_in:
        _forget(folder)
        return False
    life = folder.life()
    supervisor = life.supervisor if life else None
    if supervisor is None or not supervisor.alive:
        raise UsageError(f"{folder.path / 'lock'} is locked, but no cluster is described there; try again.")
    os.kill(supervisor.pid, signal.SIGTERM)
    try:
        _wait(lambda: not (folder.lived_in or supervisor.alive), _STOP_S, f"the cluster in {folder.path} to end")
    except Unreachable:
        kill_group(supervisor.pid)  # its watchdog ends the rest
        _wait(lambda: not folder.lived_in, _STOP_S, f"the cluster in {folder.path} to be killed")
        _forget(folder)
    return True


def scale(settings: Settings, workers: int) -> None:
    """Change the number of workers of the cluster that runs in `settings.state`; return once it has changed.

    Workers that leave hand their chunks back first. Raises UsageError when no cluster runs there.
    """
    if not 0 <= workers <= MAX_WORKERS:
        raise UsageError(f"{workers} workers asked for; give a number from 0 to {MAX_WORKERS}.")
    cluster = attach(settings)
    if cluster is None:
        raise UsageError(f"no cluster runs in {settings.state}; start one with `respool up`.")
    with cluster:
        supervisor = cluster.life.supervisor
        assert supervisor is not None
        cluster.folder.write(cluster.folder.wanted, Wanted(workers))
        os.kill(supervisor.pid, signal.SIGUSR1)
        _wait(
            lambda: sum(process.role == "worker" for process in cluster.processes) == workers,
            _STOP_S,
            f"{workers} workers in {cluster.folder.path}",
        )


def _cluster(folder: Folder, settings: Settings, hold: BinaryIO | None, users: BinaryIO | None = None) -> Cluster:
    wired, credentials = folder.wire(settings)
    return Cluster(wired, credentials, folder, users or folder.hold("users", exclusive=False), hold)


def _forget(folder: Folder) -> None:
    """Clean up after a crashed cluster, unless another process does so."""
    if not folder.cluster.exists():
        return
    lock = folder.hold("lock", exclusive=True)
    if lock:
        with lock:
            folder.sweep()


def _wait(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until `condition` holds; raise Unreachable when it takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Unreachable(
                f"waited {seconds:.0f} s for {what} without success; look at its logs folder, or try again."
            )
        with suppress(InterruptedError):
            time.sleep(0.02)
