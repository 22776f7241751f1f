"""`python -m training`: what `respool finetune`, `respool train` and `respool training resume` start; an `Ask` comes on stdin."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from contract import keys
from contract.errors import PermanentError, RespoolError, Unreachable, UsageError, WeightsError
from contract.programs import Program, command_line
from contract.settings import Settings, load
from contract.training import Ask, Check, Progress, Record, Run
from stores.storage import Storage
from training import parent, plan
from training.degrade.damage_file import GENERIC, Damage, read_damage
from training.display import Display
from training.plan import Request
from training.recipes import PAPER_NET, recipe
from training.supervisor import Supervisor, TrainingFailed
from weights import trained

DONE, FAILED, USAGE, UNREACHABLE, STOPPED = 0, 1, 2, 3, 4
"""Exit codes, as the command line's."""
TERMINATED = 128 + signal.SIGTERM
"""Exit code of a run that SIGTERM stopped: its machine was taken away, and whatever supervises it should start it again."""


def perform(ask: Ask, settings: Settings, show: Display, stop: threading.Event) -> int:
    """Do what was asked: plan or find the run, train it under supervision, conclude it; gives the exit code."""
    storage = Storage(settings)
    storage.ensure_bucket()
    run = _known(ask, storage) if ask.resume else _planned(ask, storage, settings, show)
    show.say(
        f"training run {run.id}: {len(run.role('train'))} pictures or frames to train, {len(run.role('held'))} held out"
    )
    done = storage.find(keys.train_document(run.id, "record.json"))
    if done is not None and (accepted(msgspec.json.decode(done, type=Record)) or not ask.force):
        return _ended(done, storage, settings, show)
    trained.check_free(run.name, settings)
    ranks = ask.ranks or _default_ranks(run)
    supervisor = Supervisor(
        run, settings, ranks, show.show, stop, tuple(os.environ.get("RESPOOL_TORCHRUN", "").split())
    )
    if not supervisor.train():
        show.say(
            f"stopped; run {run.id} is kept, and the same command or `respool training resume {run.id}` goes on with it."
        )
        return STOPPED
    code = _conclude(run, settings, ask.force)
    record = storage.find(keys.train_document(run.id, "record.json"))
    if record is None:
        raise TrainingFailed(
            f"run {run.id} is trained, but could not be concluded (exit code {code}); resume it to try again."
        )
    return _ended(record, storage, settings, show)


def _known(ask: Ask, storage: Storage) -> Run:
    found = storage.find(keys.train_document(ask.resume, "run.json"))
    if found is None:
        raise UsageError(
            f"there is no training run {ask.resume} in bucket {storage.bucket}; `respool training status` lists them."
        )
    return msgspec.json.decode(found, type=Run)


def _planned(ask: Ask, storage: Storage, settings: Settings, show: Display) -> Run:
    damage = None if ask.low else _damage(ask.damage)
    weights = parent.pin(ask.model, storage, settings) if ask.model else None
    from weights import catalog

    scale = catalog.load(settings).find(ask.model).scale if ask.model else ask.scale
    ranks = ask.ranks or _cards()
    options: dict[str, Any] = {"threads": settings.threads or plan.threads_for(ranks), **ask.options}
    if (
        weights is not None or ranks > PAPER_NET["slots"]
    ):  # from scratch, the paper's four, unless there are more processes
        options.setdefault("slots", ranks)
    request = Request(
        name=ask.name,
        recipe=recipe(options, fine=weights is not None),
        parent=weights,
        architecture=weights.architecture if weights else ask.architecture,
        parameters=weights.parameters if weights else ask.parameters,
        scale=scale,
        clean=ask.clean,
        damage=damage,
        low=ask.low,
        high=ask.high,
        licence=ask.licence,
        time_s=ask.time_s,
        force=ask.force,
    )
    return plan.enter(plan.plan(request, settings, show.say), storage)


def _damage(name: str) -> Damage:
    return GENERIC if name in ("", "generic") else read_damage(Path(name))


def _cards() -> int:
    """Return the number of GPUs, 1 without any."""
    import torch

    return max(1, torch.cuda.device_count()) if torch.cuda.is_available() else 1


def _default_ranks(run: Run) -> int:
    """Return the largest number of GPUs that shares the run's slots evenly."""
    return max(n for n in range(1, _cards() + 1) if run.recipe.slots % n == 0)


def accepted(record: Record) -> bool:
    """Tell whether a generator may be used: its gate passed, or a user forced it."""
    return record.gate.passed or record.forced


def _conclude(run: Run, settings: Settings, force: bool) -> int:
    """Gate, registration, record and report, in a process of their own; once more when it dies."""
    for _ in range(2):
        done = subprocess.run(
            command_line(Program.TRAIN_CONCLUDE, run.id, *(["--force"] if force else [])),
            env={"OMP_WAIT_POLICY": "passive", **os.environ, **settings.environment()},
            stdout=subprocess.PIPE,
            check=False,
            text=True,
        )
        if done.returncode in (0, 1, 2):
            break
    for line in done.stdout.splitlines():
        if line.startswith('{"error"'):
            raise TrainingFailed(msgspec.json.decode(line, type=dict[str, Any])["error"])
    return done.returncode


def _ended(data: bytes, storage: Storage, settings: Settings, show: Display) -> int:
    """Say how the gate ended, and register the generator where it may be used: this may be another machine than the one that trained."""
    record = msgspec.json.decode(data, type=Record)
    for check in record.gate.checks:
        show.say(_line(check))
    for note in record.gate.notes:
        show.say(f"note: {note}")
    report = f"`respool training report {record.run.id} -o report.html` shows why and how"
    if accepted(record):
        trained.register(data, storage, settings)
        forced = "" if record.gate.passed else " although its gate failed (--force, recorded)"
        show.say(f"{record.run.name} is registered{forced}; use it with -m {record.run.name}. {report}.")
        return DONE
    show.say(f"{record.run.name} is not registered: its gate failed. {report}; --force registers it all the same.")
    return FAILED


def _line(check: Check) -> str:
    against = f" (parent {check.parent:g})" if check.parent is not None else ""
    unit = f" {check.text}" if check.text else ""
    return f"{'passed' if check.passed else 'FAILED'}: {check.name} {check.value:g}{unit}{against}; {check.limit}"


def main() -> int:
    """Run the program; return the exit code, and print one sentence on stderr for what went wrong."""
    ArgumentParser(prog="python -m training", description="Read an Ask as JSON from stdin and train.").parse_args()
    stop, terminated = threading.Event(), threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())

    def terminate(*_: object) -> None:
        terminated.set()
        stop.set()

    signal.signal(signal.SIGTERM, terminate)
    show = Display()
    begun = time.monotonic()
    settings = load()
    ask = msgspec.json.decode(sys.stdin.buffer.read(), type=Ask)
    try:
        code = perform(ask, settings, show, stop)
        return TERMINATED if code == STOPPED and terminated.is_set() else code
    except RespoolError as error:
        show.say(f"respool: {' '.join(str(error).split())}")
        if isinstance(error, TrainingFailed) and ask.resume:
            _failed(ask.resume, str(error), settings)
        if isinstance(error, Unreachable):
            return UNREACHABLE
        return USAGE if isinstance(error, UsageError | WeightsError | PermanentError) else FAILED
    finally:
        show.end(time.monotonic() - begun)


def _failed(run: str, text: str, settings: Settings) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    progress = Progress(state="failed", text=text, updated=now)
    Storage(settings).put(keys.train_document(run, "progress.json"), msgspec.json.encode(progress))


if __name__ == "__main__":
    sys.exit(main())
