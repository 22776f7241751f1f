"""Scratches: narrow vertical lines that stay at their column for many frames (`workers/film/scratch_lines.py`), filled across."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from contract.time_filters import SCRATCHES
from workers.film.code_values import luma_levels
from workers.film.picture import Picture, Plane
from workers.film.repair import Measure, Repairer, counted
from workers.film.scratch_lines import Field, Line, Profile, lines, profile

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from contract.film import Colour

LIKELY = 0.05
"""Least response of the phase correlation that tells the picture's motion."""
MARGIN = 2.0
"""Code values from black and from white within which a pixel may have been cut off."""
SPARED = 12.0
"""Code values by which a filled pixel may go beyond the brighter or darker side."""


class ScratchFiller(Repairer[Profile, float]):
    """Filter that fills scratches from either side. The record of a frame lists first column, number of columns and contrast of each."""

    filter = SCRATCHES
    sentence = "filled at the columns of scratches (--scratches)"
    unchanged = ()

    def look(self, picture: Picture) -> Profile:
        """Return the profile of a frame."""
        black, span = luma_levels(8, self.colour.full or picture.form.model == "rgb")
        return profile(picture.luma(), black, black + span)

    def link(self, before: Profile, after: Profile) -> float | None:
        """Return the pixels by which the picture moved sideways, 0 where that is not certain, None at a cut."""
        one, other = before.luma - before.contrast, after.luma - after.contrast
        if _alike(one, other) is False:
            return None
        if min(one.shape) < 3:
            return 0.0
        (right, _), response = cv2.phaseCorrelate(one, other)  # both are new: OpenCV may change them where they lie
        return round(float(right), 2) if response >= LIKELY else 0.0

    def repaired(
        self, picture: Picture, at: int, around: dict[int, Measure[Profile, float]]
    ) -> tuple[VideoFrame, object] | None:
        """Return the frame with its scratches filled, and the list of them."""
        positions = counted(at, around)
        moves = np.cumsum([around[position].link or 0.0 for position in positions[1:]])
        found = lines(
            around[at].look, [around[position].look for position in positions], float(np.ptp(np.append(moves, 0.0)))
        )
        if not found:
            return None
        return picture.with_planes(_filled(picture, found, self.colour), self.colour), [
            [line.first, line.stop - line.first, round(line.contrast, 1)] for line in found
        ]


def _alike(one: Field, other: Field) -> bool:
    """Return whether two profiles can be of one shot: one explains at least half of the other, or both are flat."""
    x, y = one - one.mean(), other - other.mean()
    spread = float(np.sqrt(np.square(x).mean() * np.square(y).mean()))
    return spread < 4 or float((x * y).mean()) / spread > 0.5


def _filled(picture: Picture, found: list[Line], colour: Colour) -> list[Plane]:
    """Return the planes without the contrast of lines in their columns.

    A pixel stays between both sides, give or take SPARED, unless the picture is seen through the line there.
    """
    planes: list[Plane] = []
    black, span = luma_levels(picture.form.bits, colour.full or picture.form.model == "rgb")
    for plane, members in zip(picture.planes, picture.form.order, strict=True):
        chroma = picture.form.model == "yuv" and 0 not in members
        across = picture.form.down[1] if chroma else 1
        new = plane.astype(np.float32)
        width = plane.shape[1]
        margin = MARGIN * picture.step
        between = (-np.inf, np.inf) if chroma else (black + margin, black + span - margin)
        for line in found:
            first, stop = line.first // across, -(-line.stop // across)
            left, right = max(0, first - 2), min(width, stop + 2)
            if left < first and right > stop:
                _fill(new, slice(first, stop), line, SPARED * picture.step, between)
        planes.append(new)
    return planes


def _fill(new: Field, columns: slice, line: Line, spared: float, between: tuple[float, float]) -> None:
    """Fill a line's columns of a plane, height x width x channels, in place. Values that are not `between` these may have been cut off."""
    rows = line.bands[np.arange(len(new)) * len(line.bands) // len(new)]
    if not rows.any():
        return
    first, stop = columns.start, columns.stop
    own = new[rows, first:stop]
    before = new[rows, max(0, first - 2) : first].mean(axis=1, keepdims=True)
    after = new[rows, stop : stop + 2].mean(axis=1, keepdims=True)
    part = ((np.arange(stop - first, dtype=np.float32) + 1) / np.float32(stop - first + 1))[None, :, None]
    # The scratch's own contrast in each column; what shines through it is kept.
    filled = own - np.median(own - (before * (1 - part) + after * part), axis=0)
    low, high = np.minimum(before, after) - np.float32(spared), np.maximum(before, after) + np.float32(spared)
    kept = line.through & (own > between[0]) & (own < between[1])
    new[rows, first:stop] = np.where(kept, filled, np.clip(filled, low, high))
