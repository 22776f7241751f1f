"""The command `python -m training.evaluate CLEAN... -o OUT`: degrades clean images, restores and measures them."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import click
import cv2
import msgspec
import numpy as np

from contract.errors import BadInput, PermanentError, UsageError
from contract.settings import Settings, load
from training.data.registration import register
from training.degrade.apply import SMALLEST, degrade
from training.degrade.damage_file import Damage, read_damage
from training.degrade.draw import Draw
from training.degrade.picture import SUFFIXES, read_picture
from training.evaluate import metrics
from training.evaluate.methods import AT_HAND, BASELINES, method
from training.evaluate.metrics import Pixels
from training.evaluate.sheet import sheet


class Score(msgspec.Struct, frozen=True):
    """The scores of one method on one image. PSNR is in dB, None if infinite; NIQE and LPIPS are None if not available."""

    picture: str
    method: str
    psnr: float | None
    ssim: float
    niqe: float | None
    lpips: float | None
    seconds: float


class Report(msgspec.Struct, frozen=True):
    """The contents of report.json: the parameters to repeat the evaluation, and every score."""

    scale: int
    order: int
    seed: int
    draws: dict[str, Draw]
    scores: list[Score]
    notes: list[str]


def evaluate(
    pictures: list[Path],
    models: tuple[str, ...],
    scale: int,
    seed: int,
    order: int,
    settings: Settings,
    damage: Damage | None = None,
    low: Path | None = None,
) -> tuple[Report, Pixels]:
    """Measure `models` and the baselines on degraded copies of `pictures`; return the report and the contact sheet.

    Image n is degraded with seed `seed` + n, by `damage` where given; with `low`, its partner in that folder is its degraded copy. Raises UsageError for a scale outside 1 .. 8, BadInput for
    an image that cannot be read or is too small, WeightsError for models that are not available.
    """
    if not 1 <= scale <= 8:
        raise UsageError(f"scale is {scale}; give an integer factor from 1 to 8.")
    perceptual, missing = metrics.lpips()
    notes = [missing] if missing else []
    if low is not None:
        clean, worse = _pairs(pictures, low, scale, notes)
        draws = {}
    else:
        clean = {path.name: _whole(read_picture(path), scale, path.name) for path in pictures}
        own = damage or Damage(order=2 if order == 2 else 1)
        draws = {name: own.draw(seed + n) for n, name in enumerate(clean)}
        worse = {name: degrade(pixels, draws[name], scale) for name, pixels in clean.items()}
    shown: dict[str, list[tuple[str, Pixels]]] = {name: [] for name in clean}
    scores = []
    for wanted in dict.fromkeys((*BASELINES, *models)):
        name, restore = method(wanted, settings)
        for picture, pixels in clean.items():
            begun = time.perf_counter()
            result = restore(worse[picture], (pixels.shape[0], pixels.shape[1]))
            seconds = time.perf_counter() - begun
            shown[picture].append((name, result))
            scores.append(
                Score(
                    picture=picture,
                    method=name,
                    psnr=_finite(metrics.psnr(result, pixels, scale)),
                    ssim=round(metrics.ssim(result, pixels, scale), 4),
                    niqe=_finite(metrics.niqe(result, scale)),
                    lpips=round(perceptual(result, pixels), 4) if perceptual else None,
                    seconds=round(seconds, 3),
                )
            )
    rows = [(picture, [*results, ("clean", clean[picture])]) for picture, results in shown.items()]
    return Report(scale, order, seed, draws, scores, notes), sheet(rows)


def _pairs(
    pictures: list[Path], low: Path, scale: int, notes: list[str]
) -> tuple[dict[str, Pixels], dict[str, Pixels]]:
    """Read the pairs that fit together; what does not is noted. Raises BadInput when none does."""
    partners = {path.stem: path for path in sorted(low.rglob("*")) if path.suffix.lower() in SUFFIXES}
    clean: dict[str, Pixels] = {}
    worse: dict[str, Pixels] = {}
    for path in pictures:
        try:
            if path.stem not in partners:
                raise BadInput(f"no partner of the name {path.stem!r} in {low}.")
            high, degraded = read_picture(path), read_picture(partners[path.stem])
            register(degraded, high, scale)
        except BadInput as error:
            notes.append(f"{path.name} is left out: {error}")
            continue
        rows, columns = (min(a, b // scale) for a, b in zip(degraded.shape[:2], high.shape[:2], strict=True))
        worse[path.name] = np.ascontiguousarray(degraded[:rows, :columns])
        clean[path.name] = np.ascontiguousarray(high[: rows * scale, : columns * scale])
    if not clean:
        raise BadInput(f"none of {len(pictures)} pairs fit together: {notes[-1] if notes else 'no pictures'}")
    return clean, worse


def _whole(pixels: Pixels, scale: int, name: str) -> Pixels:
    """Crop the rows and columns that do not fill a pixel of the degraded copy, as evaluations of super-resolution do."""
    height, width = (side // scale * scale for side in pixels.shape[:2])
    if min(height, width) < SMALLEST * scale:
        raise BadInput(
            f"{name} is {pixels.shape[1]}x{pixels.shape[0]}, but at scale {scale} at least {SMALLEST * scale} pixels a side "
            "are needed; use a larger image."
        )
    return np.ascontiguousarray(pixels[:height, :width])


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def table(report: Report) -> str:
    """Format the means over the images, one line for each method."""
    lines = [f"{'method':28} {'PSNR dB':>8} {'SSIM':>7} {'LPIPS':>7} {'NIQE':>7} {'s':>7}"]
    for name in dict.fromkeys(score.method for score in report.scores):
        own = [score for score in report.scores if score.method == name]
        columns = ([getattr(score, field) for score in own] for field in ("psnr", "ssim", "lpips", "niqe", "seconds"))
        cells = [_mean(column) for column in columns]
        places = (8, 7, 7, 7, 7)
        digits = (2, 4, 4, 2, 2)
        shown = [
            f"{'-':>{w}}" if v is None else f"{v:>{w}.{d}f}" for v, w, d in zip(cells, places, digits, strict=True)
        ]
        lines.append(f"{name:28} " + " ".join(shown))
    return "\n".join(lines)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _found(sources: tuple[Path, ...]) -> list[Path]:
    found: list[Path] = []
    for source in sources:
        if not source.exists():
            raise UsageError(f"{source} does not exist; name clean images or folders of them.")
        inside = (path for path in source.rglob("*") if path.is_file() and path.suffix.lower() in SUFFIXES)
        found += sorted(inside) if source.is_dir() else [source]
    names = [path.name for path in found]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled:
        raise UsageError(f"two images have the name {doubled!r}, so their scores would be mixed up; rename one.")
    if not found:
        raise UsageError(
            "the named folders contain no image; name files with the suffixes " + ", ".join(SUFFIXES) + "."
        )
    return found


@click.command()
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write to."
)
@click.option(
    "-m", "--model", "models", multiple=True, default=AT_HAND, show_default=True, help="Generator; repeatable."
)
@click.option("-s", "--scale", default=4, show_default=True, help="Factor by which the degraded copies are smaller.")
@click.option("--seed", default=0, show_default=True, help="Equal seeds give equal copies.")
@click.option("--order", default=2, show_default=True, help="1: one pass of degradation; 2: the paper's two passes.")
@click.option("--damage", type=click.Path(path_type=Path), help="Damage file to draw from, instead of the paper's.")
@click.option("--pairs", nargs=2, type=click.Path(path_type=Path), help="Folders with degraded and clean pictures.")
def main(
    sources: tuple[Path, ...],
    out: Path,
    models: tuple[str, ...],
    scale: int,
    seed: int,
    order: int,
    damage: Path | None,
    pairs: tuple[Path, Path] | None,
) -> None:
    """Measure generators on degraded copies of clean images, with bicubic and Lanczos as baselines."""
    try:
        if bool(sources) == bool(pairs) or (pairs and damage):
            raise UsageError("name clean images, with --damage where wanted, or give --pairs LOW HIGH.")
        low, found = (pairs[0], _found((pairs[1],))) if pairs else (None, _found(sources))
        own = read_damage(damage) if damage else None
        report, page = evaluate(found, models, scale, seed, order, load(), own, low)
        out.mkdir(parents=True, exist_ok=True)
    except PermanentError as error:
        click.echo(f"respool evaluate: {error}", err=True)
        sys.exit(2)
    (out / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    cv2.imwrite(str(out / "sheet.png"), page[:, :, ::-1])
    click.echo(table(report))
    for note in report.notes:
        click.echo(note, err=True)
    click.echo(f"{out / 'report.json'} has every score, {out / 'sheet.png'} shows them.")


if __name__ == "__main__":
    main()
