"""`python -m training.measure SRC... --output FILE`: measure damage, write it as a damage file, show it on a sheet."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import cv2
import numpy as np

from contract.errors import PermanentError
from contract.settings import load
from training.data import sources
from training.degrade.apply import SMALLEST, Pixels, degrade
from training.degrade.damage_file import Damage, write_damage
from training.evaluate.sheet import sheet as contact_sheet
from training.measurement import measure, summary

_SHOWN = 4


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Damage file to write.")
@click.option("--clean", multiple=True, help="Clean material of the same kind.")
@click.option("--scale", default=4, show_default=True, help="Enlargement of the generator to be trained.")
@click.option("--sheet", type=click.Path(path_type=Path), help="PNG of real against synthetic damage.")
def main(names: tuple[str, ...], output: Path, clean: tuple[str, ...], scale: int, sheet: Path | None) -> None:
    """Measure the damage of an archive's pictures and films."""
    settings = load()
    try:
        found = sources.find(names, settings)
        originals = sources.find(clean, settings) if clean else []
        damage, measured = measure(found, originals, scale)
        write_damage(output, damage, (f"Measured on {len(measured.pictures)} pictures or frames; ranges, not points.",))
        if sheet is not None:
            page = _sheet(measured.pictures, [sources.read(s.path) for s in originals if not s.is_film], damage, scale)
            cv2.imwrite(str(sheet), page[:, :, ::-1])
    except PermanentError as error:
        click.echo(f"respool damage measure: {error}", err=True)
        sys.exit(2)
    for line in summary(damage):
        click.echo(line)
    for note in damage.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(output)


def _sheet(real: list[Pixels], clean: list[Pixels], damage: Damage, scale: int) -> Pixels:
    """Draw rows of a real picture and of clean pictures with the measured damage."""
    usable = [p for p in clean if min(p.shape[:2]) >= SMALLEST * scale][:_SHOWN]
    rows = []
    for n, pixels in enumerate(real[:_SHOWN]):
        row = [("real", pixels)]
        if usable:
            row.append(("synthetic", np.ascontiguousarray(degrade(usable[n % len(usable)], damage.draw(n), scale))))
        rows.append((f"{n + 1}", row))
    return contact_sheet(rows)


if __name__ == "__main__":
    main()
