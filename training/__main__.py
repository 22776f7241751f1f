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
from training.recipes import recipe
from training.supervisor import Supervisor, TrainingFailed
from weights import trained

DONE, FAILED, USAGE, UNREACHABLE, STOPPED = 0, 1, 2, 3, 4
"""Exit codes, as the command line's."""


def perform(ask: Ask, settings: Settings, show: Display, stop: threading.Event) -> int:
    """Do what was asked: plan or find the run, train it under supervision, conclude it; gives the exit code."""
    storage = Storage(settings)
    storage.ensure_bucket()
    run = _known(ask, storage) if ask.resume else _planned(ask, storage, settings, show)
    show.say(
        f"training run {run.id}: {len(run.role('train'))} pictures or frames to train, {len(run.role('held'))} held out"
    )
    done = storage.find(keys.train_document(run.id, "record.json"))
    if done is not None:
        return _ended(msgspec.json.decode(done, type=Record), show)
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
    code = _conclude(run, settings)
    record = storage.find(keys.train_document(run.id, "record.json"))
    if record is None:
        raise TrainingFailed(
            f"run {run.id} is trained, but could not be concluded (exit code {code}); resume it to try again."
        )
    return _ended(msgspec.json.decode(record, type=Record), show)


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
    options: dict[str, Any] = {
        "threads": settings.threads or plan.threads_for(ask.ranks or 1),
        "slots": max(1, ask.ranks),
        **ask.options,
    }
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


def _default_ranks(run: Run) -> int:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 1
    return max(n for n in range(1, max(1, count) + 1) if run.recipe.slots % n == 0)


def _conclude(run: Run, settings: Settings) -> int:
    """Gate, registration, record and report, in a process of their own; once more when it dies."""
    for _ in range(2):
        done = subprocess.run(
            command_line(Program.TRAIN_CONCLUDE, run.id),
            env={**os.environ, **settings.environment()},
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


def _ended(record: Record, show: Display) -> int:
    for check in record.gate.checks:
        show.say(_line(check))
    for note in record.gate.notes:
        show.say(f"note: {note}")
    report = f"`respool training report {record.run.id} -o report.html` shows why and how"
    if record.gate.passed or record.forced:
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
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    show = Display()
    begun = time.monotonic()
    settings = load()
    ask = msgspec.json.decode(sys.stdin.buffer.read(), type=Ask)
    try:
        return perform(ask, settings, show, stop)
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
