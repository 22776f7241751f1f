"""respool degrade, respool evaluate: degraded copies of clean material, and measurements of generators on them.

Both need torch, which the command line never loads: a program of its own does the work.
"""

from __future__ import annotations

from pathlib import Path

import click

from contract.programs import Program
from contract.settings import Settings
from orchestrator.cli.common import command, refuse_given
from orchestrator.cli.programs import run_program

_SOURCES = click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
_OUT = click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write to."
)
_SEED = click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Equal seeds give equal copies."
)
_ORDER = click.option(
    "--order",
    type=click.Choice(["1", "2"]),
    default="2",
    show_default=True,
    help="1: blur, resize, noise and JPEG once; 2: twice, with a sinc filter, as in the Real-ESRGAN paper.",
)


_DAMAGE = click.option(
    "--damage",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Damage file to draw from, instead of the paper's ranges (`respool damage measure` writes one).",
)


@command()
@_SOURCES
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder to write to, or a .png or .mp4 file for one source.",
)
@_SEED
@_ORDER
@_DAMAGE
@click.option(
    "-s",
    "--scale",
    type=click.FloatRange(1, 16),
    default=4.0,
    show_default=True,
    help="How many times smaller copies are.",
)
def degrade(
    settings: Settings, sources: tuple[Path, ...], out: Path, seed: int, order: str, damage: Path | None, scale: float
) -> int:
    """Degrade clean pictures and films as in the paper.

    SOURCES are pictures, films or folders of them. A film gets one draw for each shot. OUT/draws.json records every draw, and FILM.frames.jsonl
    beside a film those of its frames.
    """
    options: list[object] = ["--seed", seed, "--order", order, "--scale", scale, *_damage(damage)]
    return run_program(settings, Program.DEGRADE, [*_paths(sources, out), *options])


@command()
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path))
@_OUT
@_SEED
@_ORDER
@_DAMAGE
@click.option(
    "--pairs",
    nargs=2,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="LOW HIGH",
    help="Folders with degraded and clean pictures of equal names, instead of SOURCES.",
)
@click.option(
    "-m", "--model", "models", multiple=True, help="Generator; repeatable (default: those that come in a wheel)."
)
@click.option(
    "-s", "--scale", type=click.IntRange(1, 8), default=4, show_default=True, help="How many times smaller copies are."
)
def evaluate(
    settings: Settings,
    sources: tuple[Path, ...],
    out: Path,
    seed: int,
    order: str,
    damage: Path | None,
    pairs: tuple[Path, Path] | None,
    models: tuple[str, ...],
    scale: int,
) -> int:
    """Measure generators on degraded copies of clean pictures.

    Prints PSNR, SSIM, LPIPS and NIQE for each generator, with bicubic and Lanczos as floors. OUT/report.json has every score,
    OUT/sheet.png shows them.
    """
    chosen = [part for model in models for part in ("--model", model)]
    options: list[object] = ["--seed", seed, "--order", order, "--scale", scale, *_damage(damage), *chosen]
    if pairs:
        refuse_given(("seed", "order"), "draws degraded copies, but --pairs has them; leave one out.")
        options += ["--pairs", pairs[0].absolute(), pairs[1].absolute()]
    return run_program(settings, Program.EVALUATE, [*_paths(sources, out), *options])


def _damage(file: Path | None) -> list[object]:
    return ["--damage", file.absolute()] if file else []


def _paths(sources: tuple[Path, ...], out: Path) -> list[object]:
    # Absolute, so that no path can be taken for an option.
    return [*(source.absolute() for source in sources), "--out", out.absolute()]
