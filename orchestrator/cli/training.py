"""respool finetune, respool train: generators adapted to an archive, or trained from scratch.

Training needs torch, which the command line never loads: the work is done by a program of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contract.errors import UsageError
from contract.settings import Settings
from orchestrator.cli.common import check_reachable, command

if TYPE_CHECKING:
    from contract.training import Ask


@contextmanager
def store(settings: Settings) -> Iterator[Settings]:
    """Yield settings that name a store for runs: the one in RESPOOL_*, else one of this machine, below the state folder.

    It has a folder of its own, so that no job finds a cluster without workers in the state folder.
    """
    if not settings.embedded:
        yield check_reachable(settings)
        return
    from orchestrator.local import start
    from orchestrator.local.state_folder import Folder

    Folder(settings.state).make()  # marks it as Respool's, so that a cluster may live beside the runs
    with start(replace(settings, state=settings.state / "training"), workers=0, orchestrator=False) as cluster:
        yield cluster.settings


def _seconds(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Read a time such as 90s, 20m, 3h."""
    del ctx, parameter
    if value is None:
        return None
    factor = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(value[-1:].lower())
    try:
        seconds = float(value[:-1]) * factor if factor else float(value)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise click.BadParameter(f"{value!r} is not a time; give one such as 90s, 20m or 3h.")
    return seconds


def _recipe_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a recipe that both commands have."""
    for option in (
        click.option("--steps", type=click.IntRange(1), help="Steps to train (default 400)."),
        click.option(
            "--time", "time_s", callback=_seconds, metavar="T", help="Train no longer than this: 90s, 20m, 3h."
        ),
        click.option("--batch", type=click.IntRange(1), help="Patches of a micro-batch (default 4)."),
        click.option("--patch", type=click.IntRange(16, 512), help="Side of a patch in input pixels (default 32)."),
        click.option("--rate", type=click.FloatRange(0, 1, min_open=True), help="Learning rate (default 1e-4)."),
        click.option(
            "--generic", type=click.FloatRange(0, 1), help="Share of patches with the paper's damage (default 0.25)."
        ),
        click.option("--features", type=click.Choice(["vgg19", "laplacian"]), help="Perceptual distance of stage gan."),
        click.option(
            "--precision", type=click.Choice(["fp32", "bf16", "fp16"]), help="Precision of the networks (default fp32)."
        ),
        click.option("--seed", type=click.IntRange(0), help="Equal seeds draw equal patches and damage (default 0)."),
        click.option(
            "--ranks", type=click.IntRange(0, 64), default=0, help="Processes (default: one a GPU, else one)."
        ),
        click.option("--licence", default="NOASSERTION", show_default=True, help="SPDX licence of the training data."),
        click.option("--force", is_flag=True, help="Register the result even when its gate fails; recorded."),
    ):
        function = option(function)
    return function


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """Return the recipe's fields among the options that were given."""
    found = {name: value for name, value in given.items() if value is not None}
    features = found.pop("features", None)
    return {**found, "loss": {"features": features}} if features else found


@command()
@click.argument("model")
@click.option(
    "--clean",
    multiple=True,
    metavar="SRC",
    help="Clean pictures or films, a folder, or s3://bucket/prefix; repeatable.",
)
@click.option("--damage", metavar="FILE", help="What the archive does to them: a damage file, or 'generic'.")
@click.option("--pairs", nargs=2, metavar="LOW HIGH", help="Folders with degraded and clean pictures of equal names.")
@click.option("-o", "--output", "name", required=True, metavar="NAME", help="What to call the new generator.")
@click.option(
    "--stage", type=click.Choice(["net", "gan"]), default="net", show_default=True, help="net: L1; gan: adversarial."
)
@_recipe_options
def finetune(
    settings: Settings,
    model: str,
    clean: tuple[str, ...],
    damage: str | None,
    pairs: tuple[str, str] | None,
    name: str,
    ranks: int,
    licence: str,
    force: bool,
    time_s: float | None,
    **options: Any,
) -> int:
    """Adapt a generator to an archive's own damage.

    MODEL is the generator to start from. The result is measured against it on held-out pictures, and registered as NAME when it
    is better. Stopped or killed, the same command goes on where it was.
    """
    from contract.training import Ask

    if bool(clean) == bool(pairs):
        raise UsageError("give either --clean with --damage, or --pairs LOW HIGH.")
    if clean and not damage:
        raise UsageError(
            "--clean needs --damage FILE; `respool damage measure` writes one, and --damage generic is the paper's."
        )
    if pairs and damage:
        raise UsageError("--pairs have their damage in them; leave --damage out.")
    low, high = pairs or ("", "")
    ask = Ask(
        name=name,
        model=model,
        clean=tuple(_place(source) for source in clean),
        damage=_place(damage) if damage and damage != "generic" else damage or "",
        low=_place(low) if low else "",
        high=_place(high) if high else "",
        licence=licence,
        options=_options(options),
        ranks=ranks,
        time_s=time_s,
        force=force,
    )
    return start_training(settings, ask)


@command()
@click.argument("recipe", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--ranks", type=click.IntRange(0, 64), default=0, help="Processes (default: one a GPU, else one).")
@click.option("--force", is_flag=True, help="Register the result even when its gate fails; recorded.")
def train(settings: Settings, recipe: Path, ranks: int, force: bool) -> int:
    """Train a generator from scratch, by one TOML file.

    RECIPE names the network, the data and every setting; docs/training.md has the paper's.
    """
    import tomllib

    import msgspec

    from contract.training import Ask

    try:
        content = tomllib.loads(recipe.read_text(encoding="utf-8"))
        ask = msgspec.convert({**content, "ranks": ranks, "force": force}, Ask)
    except OSError as error:
        raise UsageError(f"{recipe} cannot be read: {error.strerror or error}; name a TOML file.") from error
    except (ValueError, msgspec.ValidationError) as error:
        raise UsageError(f"{recipe} is no recipe: {error}; docs/training.md has an example.") from error
    if not ask.name or not (ask.architecture or ask.model) or bool(ask.clean) == bool(ask.low):
        raise UsageError(f"{recipe} needs name, model or architecture, and clean (with damage) or low and high.")
    where = {name: _place(getattr(ask, name), recipe.parent) for name in ("low", "high") if getattr(ask, name)}
    if ask.damage not in ("", "generic"):
        where["damage"] = _place(ask.damage, recipe.parent)
    clean = tuple(_place(source, recipe.parent) for source in ask.clean)
    return start_training(settings, msgspec.structs.replace(ask, clean=clean, **where))


def _place(name: str, base: Path | None = None) -> str:
    """Make a path absolute, since the program that reads it must not depend on a folder; places in the store stay."""
    return name if name.startswith("s3://") else str(((base or Path()) / Path(name).expanduser()).absolute())


def start_training(settings: Settings, ask: Ask) -> int:
    """Give `ask` to the training program and return its exit code."""
    import msgspec

    from contract.programs import Program
    from orchestrator.cli.programs import run_program

    with store(settings) as wired:
        return run_program(wired, Program.TRAIN, [], msgspec.json.encode(ask))
