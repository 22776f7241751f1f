"""Validation during a run: the averaged generator on the middles of held-out pictures, with the archive's damage."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import torch

from contract.training import Picture, Run
from training.data.patches import Library, rng_of
from training.degrade.apply import Pixels, degrade
from training.degrade.damage_file import Damage
from training.evaluate import metrics
from training.perceptual import Distance

MOST = 8
"""Pictures looked at each time."""
SIDE = 96
"""Input pixels of the middle that is looked at."""


@dataclass(frozen=True)
class Validation:
    """The result of a validation. `score` decides which generator is best: dB for stage net, minus the distance for stage gan.

    `shift` is the mean error of the red, green and blue levels in code values, largest channel.
    """

    psnr: float
    score: float
    shift: float
    distance: float | None


def seed_of(picture: Picture, purpose: str) -> int:
    """Return the seed of a held-out picture's damage: the same for every run, another for choosing than for the gate."""
    return int(rng_of(purpose, picture.sha256, picture.group.removeprefix(picture.name)).integers(2**48))


def pair_of(picture: Picture, run: Run, library: Library, purpose: str) -> tuple[Pixels, Pixels]:
    """Return a held-out picture degraded and clean, cropped to whole input pixels. Frames of one shot share a draw."""
    scale = run.scale
    clean = library.clean(picture)
    rows, columns = clean.shape[0] // scale, clean.shape[1] // scale
    if picture.low is not None:
        low = library.low(picture)
        rows, columns = min(rows, low.shape[0]), min(columns, low.shape[1])
        low = np.ascontiguousarray(low[:rows, :columns])
        return low, np.ascontiguousarray(clean[: rows * scale, : columns * scale])
    clean = np.ascontiguousarray(clean[: rows * scale, : columns * scale])
    damage = msgspec.convert(run.damage, Damage)
    return degrade(clean, damage.draw(seed_of(picture, purpose)), scale, picture.frame or 0), clean


class Validator:
    """Holds the middles of the held-out pictures, degraded once."""

    def __init__(self, run: Run, library: Library, device: torch.device, distance: Distance | None) -> None:
        self._run, self._device, self._distance = run, device, distance
        self._pairs = [_middle(*pair_of(p, run, library, "choose"), run.scale) for p in run.role("held")[:MOST]]

    def look(self, network: torch.nn.Module) -> Validation:
        """Measure `network`, which is left in evaluation mode."""
        network.eval()
        psnrs, shifts, distances = [], [], []
        for low, clean in self._pairs:
            with torch.inference_mode():
                made = network(_tensor(low, self._device)).float().clamp(0, 1)
                if self._distance is not None:
                    distances.append(float(self._distance(made, _tensor(clean, self._device))))
            result = np.asarray((made[0] * 255).round().to("cpu", torch.uint8).permute(1, 2, 0))
            psnrs.append(min(metrics.psnr(result, clean, self._run.scale), 100.0))
            shifts.append(np.abs(result.mean((0, 1)) - clean.mean((0, 1))).max())
        psnr = float(np.mean(psnrs))
        distance = float(np.mean(distances)) if distances else None
        score = psnr if self._run.recipe.stage == "net" or distance is None else -distance
        return Validation(psnr, score, float(np.mean(shifts)), distance)


def _middle(low: Pixels, clean: Pixels, scale: int) -> tuple[Pixels, Pixels]:
    top, left = (max(0, side - SIDE) // 2 for side in low.shape[:2])
    high, across = top * scale, left * scale
    part = np.ascontiguousarray(clean[high : high + SIDE * scale, across : across + SIDE * scale])
    return np.ascontiguousarray(low[top : top + SIDE, left : left + SIDE]), part


def _tensor(pixels: Pixels, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(pixels).to(device).permute(2, 0, 1)[None].float() / 255
