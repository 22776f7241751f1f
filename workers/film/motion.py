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


STEPS = 6
"""Steps of the search for a patch. With the preset's 12, `python -m benchmarks.fidelity.film_repairs` finds the same dirt, and the search takes half as
long again."""


@dataclass(frozen=True)
class Alignment:
    """The way from each place of a picture to the same place in another one.

    `flow` is h x w x 2 (x, y) in pixels of the small pictures, None where nothing moves; `error` is h x w, the local mean of
    the squared difference of the aligned small pictures in code values of 8 bits.
    """

    flow: Field | None
    error: Field

    def aligned(self, plane: Plane) -> Field:
        """Return `plane` (height x width x channels) of the other picture as it lies in this one, in floats that are not rounded or clipped."""
        values = plane.astype(np.float32)  # OpenCV resamples floats in two thirds of the time of bytes
        if self.flow is None:
            return values
        height, width = plane.shape[:2]
        small = self.flow.shape[:2]
        places: list[Field] = []
        for flow, grid, factor in zip(
            cv2.split(self.flow), _grid(height, width), (width / small[1], height / small[0]), strict=True
        ):
            place = np.asarray(cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
            place *= np.float32(factor)
            place += grid
            places.append(place)
        moved = cv2.remap(values, places[0], places[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, dtype=np.float32).reshape(plane.shape)


def align(picture: Picture, other: Picture) -> Alignment:
    """Find `other`'s place for each place of `picture`; both have one shape."""
    here, there = picture.small, other.small
    height, width = here.shape
    mine, theirs = here.astype(np.float32), there.astype(np.float32)
    still = _error(theirs, mine)
    found = _flow().calc(here, there, np.zeros((height, width, 2), np.float32))
    flow = np.asarray(cv2.blur(found, (SMOOTH, SMOOTH)), dtype=np.float32)
    x, y = (place + part for place, part in zip(_grid(height, width), cv2.split(flow), strict=True))
    moved = cv2.remap(theirs, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    error = _error(np.asarray(moved, dtype=np.float32), mine)
    stays = still <= error * np.float32(STILL) + np.float32(0.5)
    if stays.all():
        return Alignment(None, still)
    np.copyto(flow.view(np.complex64)[..., 0], 0, where=stays)  # both of its values at once
    return Alignment(flow, np.where(stays, still, error))


def _error(one: Field, other: Field) -> Field:
    """Return the local mean of the squared difference."""
    return np.asarray(cv2.blur(np.square(one - other), (SMOOTH, SMOOTH)), dtype=np.float32)


def _flow() -> cv2.DISOpticalFlow:
    """Return a new DIS: one that is used again would begin from the flow before."""
    found = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    found.setFinestScale(1)
    found.setGradientDescentIterations(STEPS)
    return found


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> tuple[Field, Field]:
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return x, y
