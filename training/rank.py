"""`python -m training.rank RUN ATTEMPT`: one process of a run's group, alone or under torchrun.

Reports as JSON lines on stdout. Exit codes: 0 finished or stopped, 2 when another try would end alike, 1 otherwise.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from argparse import ArgumentParser
from datetime import UTC, datetime

import msgspec
import torch

from contract import keys
from contract.errors import LeaseLost, PermanentError, RespoolError
from contract.settings import Settings, load
from contract.training import Control, Progress, Run, RunState
from stores.storage import Storage
from training import networks, perceptual, state
from training.checkpoints import Checkpoints
from training.data.patches import Feed, Library
from training.group import Group, join
from training.loop import Trainer
from training.parent import parent_file
from training.step import Stepper
from training.validation import Validator
from workers.generators.torch_backend import pick_device

_REPORT_S = 1.0


class Reporter:
    """Writes the progress of a run, at most once a second, and looks whether a stop was asked for."""

    def __init__(self, storage: Storage, run: Run, stop: threading.Event) -> None:
        self._storage, self._run, self._stop = storage, run, stop
        self._at = 0.0
        self._told = 0

    def __call__(self, trainer: Trainer) -> None:
        """Report now, if the last report is old enough or something happened."""
        happened = trainer.state.events[self._told :]
        due = time.monotonic() - self._at >= _REPORT_S
        if not due and not happened and trainer.state.counts.step < self._run.recipe.steps:
            return
        self._at = time.monotonic()
        self._told = len(trainer.state.events)
        for event in happened:
            say({"event": event.kind, "text": event.text})
        progress = self.progress(trainer, "training")
        write_progress(self._storage, self._run.id, progress)
        say({"progress": msgspec.to_builtins(progress)})
        asked = self._storage.find(keys.train_document(self._run.id, "control.json"))
        if asked is not None and msgspec.json.decode(asked, type=Control).stop:
            self._stop.set()

    def progress(self, trainer: Trainer, now: RunState) -> Progress:
        """Return the progress of a run as `trainer` sees it."""
        counts, recipe, speed = trainer.state.counts, self._run.recipe, trainer.speed
        left = (recipe.steps - counts.step) / speed if speed else None
        if self._run.time_s is not None:
            left = min(left or self._run.time_s, max(0.0, self._run.time_s - counts.seconds))
        points = trainer.state.points
        return Progress(
            state=now,
            step=counts.step,
            steps=recipe.steps,
            steps_per_s=speed and round(speed, 3),
            left_s=left and round(left, 1),
            losses={k: round(v, 5) for k, v in trainer.losses.items() if v},
            validation=round(points[-1].values["psnr"], 3) if points else None,
            best=round(trainer.state.best.score, 3) if trainer.state.best else None,
            skipped=counts.skipped,
            updated=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def write_progress(storage: Storage, run: str, progress: Progress) -> None:
    """Replace a run's progress.json."""
    storage.put(keys.train_document(run, "progress.json"), msgspec.json.encode(progress))


def say(line: dict[str, object]) -> None:
    """Print one JSON line for the supervisor."""
    print(msgspec.json.encode(line).decode(), flush=True)  # noqa: T201 - the supervisor reads it


def build(run: Run, settings: Settings, storage: Storage, group: Group, device: torch.device, attempt: str) -> Trainer:
    """Put a run's parts together in this process; nothing is restored yet."""
    generator = networks.generator(run, parent_file(run, storage, settings)).to(device)
    judge = networks.discriminator(run.recipe.seed).to(device) if run.recipe.stage == "gan" else None
    begun = state.begin(generator, judge, run.recipe)
    needed = judge is not None and run.recipe.loss.perceptual > 0
    distance = perceptual.distance(run.recipe.loss.features, settings, device) if needed else None
    library = Library(settings)
    tell = begun.say if group.leads else lambda kind, text: say({"event": kind, "text": text})
    stepper = Stepper(run.recipe, begun, group, device, distance, tell)
    return Trainer(
        run=run,
        state=begun,
        feed=Feed(run, library, device),
        stepper=stepper,
        checkpoints=Checkpoints(storage, run.id, attempt),
        group=group,
        device=device,
        attempt=attempt,
        validator=Validator(run, library, device, distance) if group.leads else None,
    )


def work(run_id: str, attempt: str, settings: Settings) -> int:
    """Train run `run_id` to its end or until it is stopped; gives the exit code."""
    storage = Storage(settings)
    run = msgspec.json.decode(storage.get(keys.train_document(run_id, "run.json")), type=Run)
    torch.set_num_threads(run.recipe.threads)
    device = _device(settings)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    group = join(device)
    try:
        trainer = build(run, settings, storage, group, device, attempt)
        trainer.wants_stop = stop.is_set
        reporter = Reporter(storage, run, stop)
        trainer.report = reporter
        finished = trainer.train()
        if group.leads:
            progress = reporter.progress(trainer, "checking" if finished else "stopped")
            write_progress(storage, run.id, progress)
            say({"progress": msgspec.to_builtins(progress)})
    finally:
        group.close()
    return 0


def _device(settings: Settings) -> torch.device:
    device = pick_device(settings.device)
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == torch.device("cuda"):  # none in particular: each process takes its own
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    return device


def main(arguments: list[str]) -> int:
    """Run the program; return the exit code."""
    parser = ArgumentParser(prog="python -m training.rank", description="Train one rank of a run.")
    parser.add_argument("run")
    parser.add_argument("attempt")
    asked = parser.parse_args(arguments)
    try:
        return work(keys.check_job(asked.run), asked.attempt, load())
    except RespoolError as error:
        ends = isinstance(error, PermanentError | LeaseLost)
        say({"error": str(error), "permanent": ends})
        return 2 if ends else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
