"""Alignment of one picture to another by dense optical flow.

The flow is DIS (Kroeger, Timofte, Dai and Van Gool, 2016, "Fast Optical Flow using Dense Inverse Search"), as OpenCV has it,
between small smooth pictures, and is smoothed. Where standing still explains the other picture as well, nothing moves: film
that is still must not be resampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from workers.film.picture import Picture, Plane

Field = npt.NDArray[np.float32]

SMOOTH = 9
"""Side in pixels of the square over which the flow, and the errors that choose standing still, are averaged."""
STILL = 1.3
"""Standing still is preferred while its squared error is at most so many times that of the flow, plus half a code value."""


@dataclass(frozen=True)
class Alignment:
    """The way from each place of a picture to the same place in another one.

    `flow` is h x w x 2 (x, y) in pixels of the small pictures, None where nothing moves; `error` is h x w, the local mean of
    the squared difference of the aligned small pictures in code values of 8 bits.
    """

    flow: Field | None
    error: Field

    def aligned(self, plane: Plane) -> Plane:
        """Return `plane` (height x width x channels) of the other picture as it lies in this one."""
        if self.flow is None:
            return plane
        height, width = plane.shape[:2]
        small_height, small_width = self.flow.shape[:2]
        flow = cv2.resize(self.flow, (width, height), interpolation=cv2.INTER_LINEAR)
        x, y = _grid(height, width)
        places = (
            x + flow[..., 0] * np.float32(width / small_width),
            y + flow[..., 1] * np.float32(height / small_height),
        )
        moved = cv2.remap(plane, *places, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return moved.reshape(plane.shape)


def align(picture: Picture, other: Picture) -> Alignment:
    """Find `other`'s place for each place of `picture`; both have one shape."""
    here, there = picture.small, other.small
    height, width = here.shape
    mine, theirs = here.astype(np.float32), there.astype(np.float32)
    still = cv2.blur(np.square(theirs - mine), (SMOOTH, SMOOTH))
    found = _flow().calc(here, there, np.zeros((height, width, 2), np.float32))
    flow = np.asarray(cv2.blur(found, (SMOOTH, SMOOTH)), dtype=np.float32)
    x, y = _grid(height, width)
    moved = cv2.remap(theirs, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    error = cv2.blur(np.square(moved - mine), (SMOOTH, SMOOTH))
    stays = still <= error * np.float32(STILL) + np.float32(0.5)
    if stays.all():
        return Alignment(None, still)
    flow[stays] = 0
    return Alignment(flow, np.where(stays, still, error))


def _flow() -> cv2.DISOpticalFlow:
    """Return a new DIS: one that is used again would begin from the flow before."""
    found = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    found.setFinestScale(1)
    return found


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> tuple[Field, Field]:
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return x, y
