"""respool damage: what an archive has done to its pictures, as ranges."""

from __future__ import annotations

from pathlib import Path

import click

from contract.programs import Program
from contract.settings import Settings
from orchestrator.cli.common import Suggesting, command
from orchestrator.cli.programs import run_program


@click.group(cls=Suggesting)
def damage() -> None:
    """Measure the damage of an archive."""


@command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SRC...")
@click.option(
    "-o",
    "--output",
    "out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Damage file to write.",
)
@click.option(
    "--clean",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="SRC",
    help="Clean material of the same kind; repeatable.",
)
@click.option(
    "-s",
    "--scale",
    type=click.IntRange(1, 4),
    default=4,
    show_default=True,
    help="Enlargement of the generator to be trained.",
)
@click.option("--sheet", type=click.Path(path_type=Path, dir_okay=False), help="PNG of real against synthetic damage.")
def measure(
    settings: Settings, sources: tuple[Path, ...], out: Path, clean: tuple[Path, ...], scale: int, sheet: Path | None
) -> int:
    """Measure damage and write it as a damage file.

    SRC are pictures or films of the archive. JPEG and noise are read from them; blur needs --clean material to compare with.
    """
    arguments: list[object] = [*(source.absolute() for source in sources), "--output", out.absolute(), "--scale", scale]
    for source in clean:
        arguments += ["--clean", source.absolute()]
    if sheet is not None:
        arguments += ["--sheet", sheet.absolute()]
    return run_program(settings, Program.MEASURE_DAMAGE, arguments)


damage.add_command(measure)
