"""Where one shot ends and the next begins, judged from two neighbouring frames alone.

Nothing before the two frames matters, so a chunk finds the same cuts as the whole film.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

# PySceneDetect's ContentDetector: mean change of hue, saturation and value, in code values, from which on it is a cut.
THRESHOLD = 27.0
# Frames are compared at this width: enough to tell shots apart, too coarse for noise and grain.
WIDTH = 128

Thumbnail = npt.NDArray[np.int16]


def thumbnail(pixels: npt.NDArray[np.uint8]) -> Thumbnail:
    """Hue, saturation and value of a small copy of an RGB frame (height x width x 3, uint8)."""
    height, width = pixels.shape[:2]
    size = (WIDTH, max(1, round(WIDTH * height / width)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2HSV), dtype=np.int16)


def is_cut(before: Thumbnail, after: Thumbnail) -> bool:
    """True when `after` belongs to another shot than `before`. A change of size is a cut."""
    if before.shape != after.shape:
        return True
    change = np.abs(after - before)
    # Hue is a circle of 180 steps in OpenCV, and means nothing where there is no colour.
    hue = np.minimum(change[..., 0], 180 - change[..., 0])
    hue = np.where(np.minimum(before[..., 1], after[..., 1]) < 32, 0, hue)
    return float(hue.mean() + change[..., 1].mean() + change[..., 2].mean()) / 3 >= THRESHOLD
