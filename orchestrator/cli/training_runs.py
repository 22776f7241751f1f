"""respool training: the runs of `finetune` and `train`: shown, stopped, resumed, reported, and their generators registered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contract.errors import UsageError
from contract.settings import Settings
from orchestrator.cli.common import Suggesting, command
from orchestrator.cli.terminal import echo
from orchestrator.cli.training import start_training, store

if TYPE_CHECKING:
    from contract.training import Progress
    from stores.storage import Storage

_RUN = click.argument("run")


@click.group(cls=Suggesting)
def training() -> None:
    """Show, stop, resume, report and register training runs."""


def _training_command(**attributes: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Add a command below `respool training`."""

    def wrap(function: Callable[..., Any]) -> click.Command:
        made = command(**attributes)(function)
        training.add_command(made)
        return made

    return wrap


@_training_command()
@click.argument("run", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(settings: Settings, run: str | None, as_json: bool) -> None:
    """Show one training run, or all of them."""
    import msgspec

    from stores.storage import Storage

    with store(settings) as wired:
        storage = Storage(wired)
        runs = [run] if run else list(storage.folders("train/"))
        found = {name: _progress(storage, name) for name in runs}
    if as_json:
        echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        return
    for name, (title, progress) in found.items():
        echo(f"{name}  {title}  {_told(progress)}")


def _progress(storage: Storage, run: str) -> tuple[str, Progress]:
    import msgspec

    from contract import keys
    from contract.training import Progress, Run

    document = storage.find(keys.train_document(run, "run.json"))
    if document is None:
        raise UsageError(
            f"there is no training run {run} in bucket {storage.bucket}; `respool training status` lists them."
        )
    known = msgspec.json.decode(document, type=Run)
    data = storage.find(keys.train_document(run, "progress.json"))
    steps = known.recipe.steps
    return known.name, msgspec.json.decode(data, type=Progress) if data else Progress(state="preparing", steps=steps)


def _told(progress: Progress) -> str:
    from orchestrator.cli.display import duration

    parts = [progress.state, f"step {progress.step}/{progress.steps}"]
    if progress.state == "training":
        if progress.steps_per_s:
            parts.append(f"{progress.steps_per_s:.2f} steps/s")
        if progress.left_s is not None:
            parts.append(f"{duration(progress.left_s)} left")
    if progress.validation is not None:
        parts.append(f"validation {progress.validation:.2f} dB")
    if progress.skipped:
        parts.append(f"{progress.skipped} steps skipped")
    return ", ".join(parts) + (f": {progress.text}" if progress.text else "")


@_training_command()
@_RUN
@click.option("--ranks", type=click.IntRange(0, 64), default=0, help="Processes (default: one a GPU, else one).")
@click.option("--force", is_flag=True, help="Register the result even when its gate fails; recorded.")
def resume(settings: Settings, run: str, ranks: int, force: bool) -> int:
    """Go on with a training run that was stopped or died."""
    from contract import keys
    from contract.training import Ask

    keys.train_prefix(run)
    return start_training(settings, Ask(resume=run, ranks=ranks, force=force))


@_training_command()
@_RUN
def stop(settings: Settings, run: str) -> None:
    """Stop a training run; it writes a checkpoint first."""
    import msgspec

    from contract import keys
    from contract.training import Control
    from stores.storage import Storage

    with store(settings) as wired:
        storage = Storage(wired)
        _progress(storage, run)
        storage.put(keys.train_document(run, "control.json"), msgspec.json.encode(Control(stop=True)))
    echo(f"training run {run} stops at its next report; `respool training resume {run}` goes on with it")


@_training_command()
@_RUN
@click.option(
    "-o", "--output", "out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="HTML file to write."
)
def report(settings: Settings, run: str, out: Path) -> None:
    """Write a training run's report as one HTML page."""
    with store(settings) as wired:
        data = _document(wired, run, "report.html")
    if data is None:
        raise UsageError(f"training run {run} has no report yet; it is written when the run is finished.")
    out.write_bytes(data)
    echo(out)


@_training_command()
@_RUN
def show(settings: Settings, run: str) -> None:
    """Print a training run's record as JSON.

    It has parent, data, recipe, gate and weights; before the run's end, its plan alone.
    """
    import msgspec

    with store(settings) as wired:
        found = _document(wired, run, "record.json") or _document(wired, run, "run.json")
    if found is None:
        raise UsageError(f"there is no training run {run}; `respool training status` lists them.")
    echo(msgspec.json.format(found, indent=2).decode())


@_training_command()
@_RUN
def register(settings: Settings, run: str) -> None:
    """Register a generator that another machine has trained."""
    from stores.storage import Storage
    from weights import trained

    with store(settings) as wired:
        record = _document(wired, run, "record.json")
        if record is None:
            raise UsageError(f"training run {run} has no generator yet; `respool training status {run}` shows it.")
        entry = trained.register(record, Storage(wired), wired)
    echo(f"{entry.name} is registered; use it with -m {entry.name}")


def _document(settings: Settings, run: str, name: str) -> bytes | None:
    from contract import keys
    from stores.storage import Storage

    return Storage(settings).find(keys.train_document(run, name))
