"""Whether a restored face is still the face it was.

Two measures. *Departure*: how far its five points moved; it catches another pose, another expression, a face torn
apart. *Likeness*: whether light and dark lie where they lay, on a raster too coarse for what degradation destroys;
it catches another person. `python benchmarks/speed/faces.py` measures both on faces whose clean originals are known, and on
pairs of different people; docs/quality.md has the figures that the limits come from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from workers.faces import landmarks
from workers.faces.align import SQUARE, TEMPLATE
from workers.faces.detect import Detector
from workers.generators.lanczos import resize

MOST_DEPARTURE = 0.15
"""Eye distances. Of the clean originals of 24 degraded faces 22 lie within it; the other two are blurred past all points."""
LEAST_LIKENESS = 0.9
"""Correlation. Clean originals of 24 degraded faces have at least 0.906, 1,128 pairs of different people at most 0.895."""
RASTER = 8
INNER = (160, 432, 120, 392)
"""Top, bottom, left, right in the restorers' square: brows to chin, without hair and background."""


@dataclass(frozen=True)
class Judgement:
    """`departure` in eye distances, infinite when the result is not seen as a face; `likeness` from -1 to 1."""

    departure: float
    likeness: float

    @property
    def departed(self) -> bool:
        return self.departure > MOST_DEPARTURE or self.likeness < LEAST_LIKENESS


def judge(detector: Detector, before: torch.Tensor, after: torch.Tensor) -> Judgement:
    """Compare two aligned faces, 1 x 3 x n x n, RGB in [0, 1]: as found, and as restored."""
    return Judgement(departure(detector, before, after), likeness(before, after))


def departure(detector: Detector, before: torch.Tensor, after: torch.Tensor) -> float:
    """Mean distance between the points of two aligned faces, in eye distances; infinite when `after` shows no face.

    Where the detector sees no face in `before` (too blurred), the template, to which it was aligned, stands for it.
    """
    new = landmarks.read(detector, after)
    if new is None:
        return math.inf
    old = landmarks.read(detector, before)
    if old is None:
        old = TEMPLATE * (before.shape[-1] / SQUARE)
    return float(np.linalg.norm(new - old, axis=1).mean() / max(float(np.linalg.norm(old[1] - old[0])), 1.0))


def likeness(before: torch.Tensor, after: torch.Tensor) -> float:
    """Correlation of the luma of two aligned faces on a raster of 8 x 8; 1 when either is without any contrast."""
    one, other = _coarse(before), _coarse(after)
    length = float(one.norm() * other.norm())
    return float((one * other).sum()) / length if length > 1e-6 else 1.0


def _coarse(square: torch.Tensor) -> torch.Tensor:
    top, bottom, left, right = (n * square.shape[-1] // SQUARE for n in INNER)
    # BT.601 luma, as everywhere that OpenCV turns colour into grey.
    luma = (square * square.new_tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    values = resize(luma[..., top:bottom, left:right].contiguous(), (RASTER, RASTER)).flatten()
    return values - values.mean()
