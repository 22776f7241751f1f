"""Face detections and the interface of detectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
"""5 x 2, (x, y) in pixels: the eyes, the tip of the nose, the corners of the mouth; from left to right in the image."""


@dataclass(frozen=True)
class Detection:
    """One face. `box` is (left, top, right, bottom) in pixels of the frame, `score` in [0, 1]."""

    box: tuple[float, float, float, float]
    score: float
    points: Points

    @property
    def size(self) -> float:
        """The shorter side of the box, in pixels."""
        return min(self.box[2] - self.box[0], self.box[3] - self.box[1])

    @property
    def area(self) -> float:
        """The area of the box, in pixels."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])

    @property
    def centre(self) -> tuple[float, float]:
        """The centre (x, y) of the box, in pixels."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


class Detector(Protocol):
    """A face detector."""

    name: str

    def __call__(self, pixels: Pixels, min_size: float) -> list[Detection]:
        """Return the faces of `pixels`, height x width x 3 RGB uint8, best score first; `min_size` is in pixels."""
        ...


def overlap(a: Detection, b: Detection) -> float:
    """Return the intersection over union of two boxes, in [0, 1]."""
    width = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    height = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a.area + b.area - width * height)


def without_doubles(found: list[Detection], most: float = 0.3) -> list[Detection]:
    """Sort by score, best first, and drop each that overlaps a better one by more than `most` (CenterFace's own limit)."""
    kept: list[Detection] = []
    for candidate in sorted(found, key=lambda d: -d.score):
        if all(overlap(candidate, other) <= most for other in kept):
            kept.append(candidate)
    return kept
