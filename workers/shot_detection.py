"""Detection of cuts between shots from two neighbouring frames.

Earlier frames have no influence, so a chunk finds the same cuts as the whole film.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

# Least mean change of hue, saturation and value at a cut, in code values, from PySceneDetect's ContentDetector.
THRESHOLD = 27.0
# Frames are compared at this width in pixels: enough to distinguish shots, too coarse for noise and grain.
WIDTH = 128

Thumbnail = npt.NDArray[np.int16]


def thumbnail(pixels: npt.NDArray[np.uint8]) -> Thumbnail:
    """Return hue, saturation and value of a small copy of an RGB frame (height x width x 3, uint8)."""
    height, width = pixels.shape[:2]
    size = (WIDTH, max(1, round(WIDTH * height / width)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2HSV), dtype=np.int16)


def is_cut(before: Thumbnail, after: Thumbnail) -> bool:
    """Return whether `after` belongs to another shot than `before`. A change of size is a cut."""
    if before.shape != after.shape:
        return True
    change = np.abs(after - before)
    # Hue is a circle of 180 steps in OpenCV, and is undefined where there is no colour.
    hue = np.minimum(change[..., 0], 180 - change[..., 0])
    hue = np.where(np.minimum(before[..., 1], after[..., 1]) < 32, 0, hue)
    return float(hue.mean() + change[..., 1].mean() + change[..., 2].mean()) / 3 >= THRESHOLD
