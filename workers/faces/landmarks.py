"""The five points of an aligned face, detected several times and averaged.

CenterFace locates a face's points to about 1% of its width, 8 px in the restorers' square. Detected again in the aligned square,
at two sizes and mirrored, they are 2.5 times steadier from frame to frame (0.25 px instead of 0.63 on a face 90 px wide)
and nearer to their positions in the clean image (docs/quality.md).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from workers.faces.align import apply, crop, inverse, similarity
from workers.faces.detect import Detection, Detector, Pixels, Points
from workers.generators.lanczos import resize

SIDES = (128, 160)
"""Sides in pixels: faces of 57 and 71 px, at which the detector is most exact and takes about 6 ms."""
MIRRORED = (1, 0, 2, 4, 3)
"""The index of each point in a mirrored face."""


def refined(detector: Detector, frame: torch.Tensor, found: Detection) -> Detection:
    """Detect the points of `found`, a face of `frame` (1 x 3 x H x W RGB in [0, 1]), again; keep the old ones if that fails."""
    affine = similarity(found.points, SIDES[-1])
    points = read(detector, crop(frame, affine, SIDES[-1]))
    return found if points is None else dataclasses.replace(found, points=apply(inverse(affine), points))


def read(detector: Detector, square: torch.Tensor) -> Points | None:
    """Return the points, in pixels, of the face that fills an aligned square (1 x 3 x n x n RGB in [0, 1]); None without a face."""
    size = square.shape[-1]
    found = []
    for side in SIDES:
        pixels = to_pixels(square if size == side else resize(square, (side, side)))
        for mirrored in (False, True):
            points = _middle(detector, np.ascontiguousarray(pixels[:, ::-1]) if mirrored else pixels)
            if points is None:
                continue
            if mirrored:
                points = points[MIRRORED, :] * (-1, 1) + (side - 1, 0)
            found.append((points + 0.5) * (size / side) - 0.5)
    return np.mean(found, axis=0) if found else None


def _middle(detector: Detector, pixels: Pixels) -> Points | None:
    """Return the points of the face nearest to the centre: the square may show parts of other faces."""
    side = pixels.shape[0]
    faces = detector(pixels, min_size=side / 4)
    near = min(faces, key=lambda face: float(np.hypot(*(face.points.mean(axis=0) - side / 2))), default=None)
    return None if near is None else near.points


def to_pixels(rgb: torch.Tensor) -> Pixels:
    """Convert 1 x 3 x H x W in [0, 1] to H x W x 3 uint8 in main memory."""
    codes = (rgb[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(codes.permute(1, 2, 0).cpu().numpy())
