"""Supervision of a run: one process group after another until the run is finished, stopped, or cannot be helped.

Each attempt is a fresh group (one process, or a new `torchrun --max-restarts 0`): a restart inside a group of gloo processes
meets the dead process's connections.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from contract import keys
from contract.errors import RespoolError
from contract.programs import Program, command_line
from contract.settings import Settings
from contract.training import Commit, Control, Progress, Run
from stores.processes import death_signal
from stores.storage import Storage
from training.checkpoints import Checkpoints

MOST_FRUITLESS = 4
"""Attempts in a row without a new checkpoint after which the run is given up."""
_SILENT_S = 900.0
"""Seconds without a report after which a group is considered hanging and is ended."""
_STOP_S = 120.0
"""Longest time for a group to write its last checkpoint."""
_PAUSE_S = 1.0
_LAST_LINES = 5


class TrainingFailed(RespoolError):
    """Raised when a run cannot go on; its checkpoints stay."""


@dataclass
class Line:
    """One line of a group's output, as far as it is for the supervisor."""

    progress: Progress | None = None
    event: str = ""
    error: str = ""
    permanent: bool = False


@dataclass
class Supervisor:
    """Runs one run's groups of `ranks` processes. `show` gets progress and sentences; `stop` may be set by a signal handler."""

    run: Run
    settings: Settings
    ranks: int
    show: Callable[[Progress | str], None]
    stop: threading.Event = field(default_factory=threading.Event)
    nodes: tuple[str, ...] = ()
    """Further options of torchrun, for runs over several machines."""

    def __post_init__(self) -> None:
        self._storage = Storage(self.settings)
        self._checkpoints = Checkpoints(self._storage, self.run.id, "00000000")
        self._heard = 0.0
        self._tail: deque[str] = deque(maxlen=_LAST_LINES)
        self._fatal = ""

    def train(self) -> bool:
        """Start groups until the run is finished, True, or stopped, False; raise TrainingFailed when it cannot go on."""
        fruitless, attempts = 0, 0
        # Starting a run again cancels an earlier request to stop it.
        self._storage.put(keys.train_document(self.run.id, "control.json"), msgspec.json.encode(Control()))
        while True:
            before = self._newest()
            if before is not None and before.finished:
                return True
            if self.stop.is_set() or self._asked_to_stop():
                return False
            attempts += 1
            code = self._attempt()
            after = self._newest()
            if after is not None and after.finished:
                return True
            if code == 0 or self.stop.is_set() or self._asked_to_stop():
                return False
            if self._fatal:
                raise TrainingFailed(self._fatal)
            fruitless = 0 if _number(after) > _number(before) else fruitless + 1
            if fruitless >= MOST_FRUITLESS:
                raise TrainingFailed(
                    f"run {self.run.id} died {fruitless} times in a row before a new checkpoint; its last words: "
                    f"{' / '.join(self._tail) or 'none'}."
                )
            self.show(
                f"attempt {attempts} ended with code {code} at step {after.step if after else 0}; started again from there."
            )
            self.stop.wait(_PAUSE_S * 2**fruitless if fruitless else 0)

    def _attempt(self) -> int:
        """One group, from its start to its end; gives its exit code."""
        self._fatal = ""
        self._tail.clear()
        process = subprocess.Popen(
            self._command(secrets.token_hex(4)),
            env=_environment(self.settings, self.run.recipe.threads),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=death_signal(os.getpid()),
        )
        assert process.stdout is not None
        self._heard = time.monotonic()
        reader = threading.Thread(target=self._listen, args=(process,), daemon=True)
        reader.start()
        stopped_at = 0.0
        while process.poll() is None:
            now = time.monotonic()
            if self.stop.is_set() and not stopped_at:
                stopped_at = now
                _signal(process, signal.SIGTERM)
            if (stopped_at and now - stopped_at > _STOP_S) or now - self._heard > _SILENT_S:
                self.show(
                    f"the process group is silent and is ended; run {self.run.id} goes on from its last checkpoint."
                )
                _signal(process, signal.SIGKILL)
            if self.stop.wait(0.1):
                time.sleep(0.1)  # set for good: look again soon, without spinning
        _signal(process, signal.SIGKILL)  # what the group's leader left behind
        reader.join()
        process.stdout.close()
        return process.returncode

    def _command(self, attempt: str) -> list[str]:
        if self.ranks == 1 and not self.nodes:
            return command_line(Program.TRAIN_RANK, self.run.id, attempt)
        place = self.nodes or ("--standalone",)
        torchrun = ["-m", "torch.distributed.run", *place, "--nproc-per-node", str(self.ranks), "--max-restarts", "0"]
        return [sys.executable, "-P", *torchrun, "-m", Program.TRAIN_RANK.value, self.run.id, attempt]

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for text in process.stdout:
            self._heard = time.monotonic()
            line = understand(text)
            if line is None:
                self._tail.append(text.strip())
            elif line.progress:
                self.show(line.progress)
            elif line.event:
                self.show(line.event)
            elif line.error:
                self._tail.append(line.error)
                if line.permanent:
                    self._fatal = line.error

    def _newest(self) -> Commit | None:
        return self._checkpoints.newest()

    def _asked_to_stop(self) -> bool:
        found = self._storage.find(keys.train_document(self.run.id, "control.json"))
        return found is not None and msgspec.json.decode(found, type=Control).stop


def _environment(settings: Settings, threads: int) -> dict[str, str]:
    # A thread that waits for its part of a tensor must not spin on a core that other processes could use.
    return {"OMP_WAIT_POLICY": "passive", **os.environ, **settings.environment(), "OMP_NUM_THREADS": str(threads)}


def understand(text: str) -> Line | None:
    """Read a line of a group's output; None for what is no report."""
    if not text.startswith("{"):
        return None
    try:
        found = msgspec.json.decode(text, type=dict[str, object])
        if "progress" in found:
            return Line(progress=msgspec.convert(found["progress"], Progress))
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    if "event" in found:
        return Line(event=str(found.get("text", "")))
    if "error" in found:
        return Line(error=str(found["error"]), permanent=bool(found.get("permanent")))
    return None


def _number(commit: Commit | None) -> int:
    return -1 if commit is None else commit.number


def _signal(process: subprocess.Popen[str], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
