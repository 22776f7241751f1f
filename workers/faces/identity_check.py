"""Identity check: a restored face must still show the person, pose and expression of its source.

There are two measures. *Departure* is the movement of the five points; it detects another pose or expression, or a distorted
face. *Likeness* is the correlation of light and dark on a raster too coarse for the detail that degradation destroys;
it detects another person. `python benchmarks/speed/faces.py` measures both on faces whose clean originals are known, and on
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
"""Eye distances. Of the clean originals of 24 degraded faces 22 are within it; the other two are too blurred for points."""
LEAST_LIKENESS = 0.9
"""Correlation. Clean originals of 24 degraded faces have at least 0.906, 1,128 pairs of different people at most 0.895."""
RASTER = 8
INNER = (160, 432, 120, 392)
"""Top, bottom, left, right in the restorers' square: brows to chin, without hair and background."""


@dataclass(frozen=True)
class Judgement:
    """The result of a check: `departure` in eye distances, infinite if no face is detected; `likeness` from -1 to 1."""

    departure: float
    likeness: float

    @property
    def departed(self) -> bool:
        """True if the face no longer looks like its source."""
        return self.departure > MOST_DEPARTURE or self.likeness < LEAST_LIKENESS


def check_identity(detector: Detector, before: torch.Tensor, after: torch.Tensor) -> Judgement:
    """Compare two aligned faces, 1 x 3 x n x n, RGB in [0, 1]: the source and the restored one."""
    return Judgement(departure(detector, before, after), likeness(before, after))


def departure(detector: Detector, before: torch.Tensor, after: torch.Tensor) -> float:
    """Return the mean distance between the points of two aligned faces, in eye distances; infinite if `after` shows no face.

    Where the detector finds no face in `before` (too blurred), the template, to which it was aligned, replaces its points.
    """
    new = landmarks.read(detector, after)
    if new is None:
        return math.inf
    old = landmarks.read(detector, before)
    if old is None:
        old = TEMPLATE * (before.shape[-1] / SQUARE)
    return float(np.linalg.norm(new - old, axis=1).mean() / max(float(np.linalg.norm(old[1] - old[0])), 1.0))


def likeness(before: torch.Tensor, after: torch.Tensor) -> float:
    """Return the correlation of the luma of two aligned faces on a raster of 8 x 8; 1 if either has no contrast."""
    one, other = _coarse(before), _coarse(after)
    length = float(one.norm() * other.norm())
    return float((one * other).sum()) / length if length > 1e-6 else 1.0


def _coarse(square: torch.Tensor) -> torch.Tensor:
    top, bottom, left, right = (n * square.shape[-1] // SQUARE for n in INNER)
    # BT.601 luma, as in OpenCV's conversion to grey.
    luma = (square * square.new_tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    values = resize(luma[..., top:bottom, left:right].contiguous(), (RASTER, RASTER)).flatten()
    return values - values.mean()
