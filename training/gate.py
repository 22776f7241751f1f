"""The gate: may a trained generator be used? Measured on held-out pictures against its parent, rule by rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
import torch

from contract.training import Check, Gate, Picture, Run
from training import gate_metrics
from training.data.patches import Library
from training.degrade.apply import Pixels, degrade
from training.degrade.damage_file import GENERIC
from training.validation import pair_of, seed_of

MOST = 24
"""Held-out pictures measured."""
SIDE = 192
"""Input pixels of the middle that is measured."""
GAIN_DB, WORST_DB = 0.3, -0.3
"""Stage net: the mean must gain so much over the parent, no picture may lose more."""
GAN_DB = -0.5
GENERIC_DB = -0.5
SHIFT = 0.5
"""Code values by which a shift may exceed the parent's before it counts as larger: the spread between draws of damage."""
COLOUR_SHARE = 0.95
FLICKER_SHARE = 1.02

Method = Callable[[Pixels, tuple[int, int]], Pixels]
"""H x W x 3 RGB uint8 and a size (height, width) to a picture of that size."""
Distance = Callable[[Pixels, Pixels], float]


@dataclass
class Figures:
    """Figures by picture and method; `made` keeps what was made of the first pictures, for the report."""

    of: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    made: list[tuple[str, dict[str, Pixels]]] = field(default_factory=list)

    def values(self, method: str, figure: str) -> list[float]:
        """Return one figure of one method over all pictures that have it."""
        return [by[method][figure] for by in self.of.values() if figure in by.get(method, {})]

    def mean(self, method: str, figure: str) -> float:
        """Return the mean of a figure, NaN when no picture has it."""
        found = self.values(method, figure)
        return fmean(found) if found else math.nan


def measure(
    run: Run, methods: dict[str, Method], library: Library, distance: Distance | None, shown: int = 6
) -> Figures:
    """Measure every method on every held-out picture: its own damage, generic damage, grey, neighbouring frames."""
    figures = Figures()
    last: dict[str, tuple[Picture, Pixels, Pixels]] = {}
    held = run.role("held")[:MOST]
    for picture in held:
        low, clean = _middle(*pair_of(picture, run, library, "gate"), run.scale)
        size = (clean.shape[0], clean.shape[1])
        generic = degrade(clean, GENERIC.draw(seed_of(picture, "generic")), run.scale)
        name = picture.name if picture.frame is None else f"{picture.name}, frame {picture.frame}"
        row: dict[str, Pixels] = {"before": low}
        by: dict[str, dict[str, float]] = {}
        for method, enlarge in methods.items():
            made = enlarge(low, size)
            row[method] = made
            by[method] = _figures(made, clean, run.scale)
            by[method]["generic"] = gate_metrics.psnr(enlarge(generic, size), clean, run.scale)
            by[method]["tint"] = gate_metrics.tint(enlarge(gate_metrics.grey(low), size))
            if distance is not None:
                by[method]["distance"] = distance(made, clean)
            before = last.get(method)
            if before and before[0].group == picture.group and picture.frame == (before[0].frame or 0) + 1:
                by[method]["flicker"] = gate_metrics.flicker((before[1], made), (before[2], clean))
            last[method] = (picture, made, clean)
        figures.of[name] = by
        if len(figures.made) < shown:
            figures.made.append((name, {**row, "target": clean}))
    return figures


def _figures(made: Pixels, clean: Pixels, border: int) -> dict[str, float]:
    found = {
        "psnr": gate_metrics.psnr(made, clean, border),
        "luma": gate_metrics.luma_shift(made, clean),
        "chroma": gate_metrics.chroma_shift(made, clean),
    }
    colour = gate_metrics.colourfulness(made, clean)
    return found if colour is None else {**found, "colour": colour}


def _middle(low: Pixels, clean: Pixels, scale: int) -> tuple[Pixels, Pixels]:
    top, left = (max(0, side - SIDE) // 2 for side in low.shape[:2])
    part = low[top : top + SIDE, left : left + SIDE]
    whole = clean[top * scale : (top + SIDE) * scale, left * scale : (left + SIDE) * scale]
    return np.ascontiguousarray(part), np.ascontiguousarray(whole)


def judge(run: Run, figures: Figures, own: str, parent: str, distance: str) -> Gate:
    """Hold the figures of method `own` against those of `parent`; pure."""
    gains = [a - b for a, b in zip(figures.values(own, "psnr"), figures.values(parent, "psnr"), strict=True)]
    mean = fmean(gains)
    checks: list[Check] = []
    if run.recipe.stage == "net":
        checks.append(_least("fidelity", mean, GAIN_DB, f"mean PSNR at least {GAIN_DB} dB over {parent}", "dB"))
        checks.append(
            _least("worst picture", min(gains), WORST_DB, f"no picture more than {-WORST_DB} dB below {parent}", "dB")
        )
    else:
        checks.append(_least("fidelity", mean, GAN_DB, f"mean PSNR not more than {-GAN_DB} dB below {parent}", "dB"))
        if distance:
            near, theirs = figures.mean(own, "distance"), figures.mean(parent, "distance")
            checks.append(
                Check(
                    "perceptual distance",
                    near < theirs,
                    round(near, 5),
                    f"{distance} lower than {parent}'s",
                    round(theirs, 5),
                )
            )
    for name, figure in (("luma shift", "luma"), ("colour shift", "chroma"), ("grey stays grey", "tint")):
        checks.append(_most(name, figures.mean(own, figure), figures.mean(parent, figure), parent))
    checks += _colour(figures, own, parent)
    generic = figures.mean(own, "generic") - figures.mean(parent, "generic")
    checks.append(
        _least(
            "generic damage",
            generic,
            GENERIC_DB,
            f"on the paper's damage not more than {-GENERIC_DB} dB below {parent}",
            "dB",
        )
    )
    checks += _steadiness(figures, own, parent)
    return Gate(all(check.passed for check in checks), tuple(checks), figures.of, distance, _notes(run, figures, own))


def _colour(figures: Figures, own: str, parent: str) -> list[Check]:
    if not figures.values(own, "colour"):
        return []
    have, theirs = figures.mean(own, "colour"), figures.mean(parent, "colour")
    limit = f"at least {COLOUR_SHARE:.0%} of the colour that {parent} keeps"
    return [Check("colour is kept", have >= COLOUR_SHARE * min(theirs, 1.0), round(have, 3), limit, round(theirs, 3))]


def _steadiness(figures: Figures, own: str, parent: str) -> list[Check]:
    if not figures.values(own, "flicker"):
        return []
    have, theirs = figures.mean(own, "flicker"), figures.mean(parent, "flicker")
    limit = f"error of frame differences no larger than {parent}'s"
    return [Check("steadiness", have <= theirs * FLICKER_SHARE, round(have, 3), limit, round(theirs, 3), "code values")]


def _least(name: str, value: float, limit: float, text: str, unit: str) -> Check:
    return Check(name, value >= limit, round(value, 3), text, text=unit)


def _most(name: str, value: float, theirs: float, parent: str) -> Check:
    text = f"no larger than {parent}'s (to {SHIFT} code values)"
    return Check(name, value <= theirs + SHIFT, round(value, 3), text, round(theirs, 3), "code values")


def _notes(run: Run, figures: Figures, own: str) -> tuple[str, ...]:
    notes = []
    if not figures.values(own, "flicker"):
        notes.append("No neighbouring frames were held out, so steadiness was not checked.")
    if not figures.values(own, "colour"):
        notes.append("No held-out picture is coloured, so the loss of colour was not checked.")
    groups = {picture.group for picture in run.role("held")}
    if len(groups) < 6:
        notes.append(
            f"{len(groups)} pictures or shots were held out: the same ones chose the best checkpoint, with other draws of damage; "
            "more material makes the gate's figures surer."
        )
    return tuple(notes)


def failures(gate: Gate) -> list[str]:
    """Return a sentence for each rule that was not met."""
    return [
        f"{check.name}: {check.value:g}{' ' + check.text if check.text else ''}"
        + (f" against {check.parent:g}" if check.parent is not None else "")
        + f"; wanted: {check.limit}."
        for check in gate.checks
        if not check.passed
    ]


def pixel_distance(measure_tensors: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Distance:
    """Turn a distance of tensors into one of pictures."""

    def distance(made: Pixels, clean: Pixels) -> float:
        pair = (torch.from_numpy(p).permute(2, 0, 1)[None].float() / 255 for p in (made, clean))
        with torch.inference_mode():
            return float(measure_tensors(*pair))

    return distance
