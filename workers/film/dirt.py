"""Dirt: blotches that live for one frame, found where a frame differs from both of its aligned neighbours, and filled from them.

The test is that of ranked differences (Nadenau and Mitra, 1997, "Blotch and scratch detection in image sequences based on rank ordered
differences"). It is met by much that is no dirt, so each spot needs more evidence: see `workers/film/spots.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from contract.film import HELD
from contract.time_filters import DIRT
from workers.film.motion import Alignment
from workers.film.picture import Picture, Plane
from workers.film.repair import Windowed
from workers.film.spot_table import Ints
from workers.film.spots import Find, dirty, look
from workers.film.steady import held

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from contract.film import Colour
    from workers.film.frame_marks import Clock
    from workers.film.window import Window

ACROSS = 256
"""Pixels of a row of places that are looked up together."""
LISTED = 100
"""Largest number of boxes that the record of a frame lists."""


class DirtFiller(Windowed):
    """Filter that fills blotches from both neighbours.

    The record of a frame is the number of blotches, the pixels that they cover, and the boxes of the largest ones: left, top, width, height.
    """

    filter = DIRT
    sentence = "filled from their neighbours where dirt lay (--dirt)"
    unchanged = (0, 0, ())

    def __init__(self, colour: Colour, clock: Clock) -> None:
        super().__init__(colour, clock)
        self._finds: dict[tuple[int, int, int], Find | None] = {}
        self._last: tuple[int, Picture, VideoFrame, object] | None = None

    def made(self, window: Window) -> VideoFrame:
        """Return the frame of a window with its dirt filled."""
        at, picture = window.position, window.picture
        if self._last is not None and self._last[0] == at - 1 and self._last[1].equals(picture):
            _, _, made, found = self._last
            frame = picture.with_planes(Picture(made).planes, self.colour) if found else picture.frame
        else:
            frame, found = self._filled(window)
        self._last = at, picture, frame, found
        if found:
            self.found[at] = found
        return frame

    def _filled(self, window: Window) -> tuple[VideoFrame, object]:
        picture = window.picture
        if (run := held(window)) is None:
            return picture.frame, None
        # Flows are large: of what lies behind, only the run before this one is asked for again.
        self._finds = {key: find for key, find in self._finds.items() if key[1] >= run[0] - HELD - 1}
        reached = {
            at: p for at, p in window.pictures.items() if run[0] - DIRT.reach <= at <= run[1] + DIRT.reach
        }  # the same for all frames of the run
        own = self._find(run, reached)
        if own is None or not len(own.spots.areas):
            return picture.frame, None
        near = [self._find(_run(at, reached), reached) for at in (run[0] - 1, run[1] + 1)]
        chosen = self.chosen(window.position, own, (near[0], near[1]))
        if not chosen:
            return picture.frame, None
        others = [(reached[at], way) for at, way in zip((run[0] - 1, run[1] + 1), own.ways, strict=True)]
        spots = sorted((-int(own.spots.areas[k]), own.spots.boxes[k].tolist()) for k in chosen)
        pixels = np.concatenate([own.spots.of(k) for k in chosen])
        found = [len(spots), -sum(area for area, _ in spots), [box for _, box in spots[:LISTED]]]
        return picture.with_planes(filled(picture, pixels, others), self.colour), found

    def chosen(self, position: int, own: Find, near: tuple[Find | None, Find | None]) -> list[int]:  # noqa: ARG002  # evidence counts by it
        """List the numbers of those spots of the frame at `position` that are dirt, by its own finds and those of its neighbours."""
        return dirty(own, *near)

    def _find(self, run: tuple[int, int], pictures: dict[int, Picture]) -> Find | None:
        """Return the spots of a run of equal pictures against those before and after it; None where one is missing."""
        before, after = run[0] - 1, run[1] + 1
        if before not in pictures or after not in pictures:
            return None
        key = before, run[0], after
        if key not in self._finds:
            self._finds[key] = look(pictures[run[0]], pictures[before], pictures[after])
        return self._finds[key]


def _run(at: int, pictures: dict[int, Picture]) -> tuple[int, int]:
    """Return the first and last position of the run of equal pictures around `at`."""
    first = last = at
    while first - 1 in pictures and pictures[first - 1].equals(pictures[at]):
        first -= 1
    while last + 1 in pictures and pictures[last + 1].equals(pictures[at]):
        last += 1
    return first, last


def filled(picture: Picture, pixels: Ints, others: list[tuple[Picture, Alignment]]) -> list[Plane]:
    """Return the planes of a picture with its spots filled by the mean of `others`, aligned; all else keeps its code values.

    `pixels` are the places of the spots in the flat luma.
    """
    height, width = picture.frame.height, picture.frame.width
    top = (1 << picture.form.bits) - 1
    cover = np.zeros((height, width), np.uint8)
    cover.ravel()[pixels] = 1
    planes: list[Plane] = []
    for n, plane in enumerate(picture.planes):
        new = plane.copy()
        share = _share(cover, plane.shape[:2])
        rows, columns = np.nonzero(share)
        mean = sum(moved(other.planes[n], way, rows, columns) for other, way in others) / np.float32(len(others))
        weight = share[rows, columns][:, None]
        mixed = plane[rows, columns] * (1 - weight) + mean * weight
        new[rows, columns] = np.clip(np.rint(mixed), 0, top).astype(plane.dtype)
        planes.append(new)
    return planes


def _share(cover: npt.NDArray[np.uint8], size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return how far each pixel of a plane is filled, 0 to 1: wholly under a spot and beside it, half at its rim."""
    wide = cv2.dilate(cover, np.ones((3, 3), np.uint8))
    soft = np.multiply(cv2.add(wide, cv2.dilate(wide, np.ones((3, 3), np.uint8))), np.float32(0.5))
    if soft.shape == size:
        return np.asarray(soft, dtype=np.float32)
    return np.asarray(cv2.resize(soft, (size[1], size[0]), interpolation=cv2.INTER_AREA), dtype=np.float32)


def moved(plane: Plane, way: Alignment, rows: Ints, columns: Ints) -> npt.NDArray[np.float32]:
    """Return pixels of another picture's plane where they lie in this one, at n places: n x channels."""
    if way.flow is None:
        return plane[rows, columns].astype(np.float32)
    height, width = plane.shape[:2]
    small_height, small_width = way.flow.shape[:2]
    across, down = np.float32(width / small_width), np.float32(height / small_height)
    x, y = _in_rows(columns.astype(np.float32)), _in_rows(rows.astype(np.float32))
    there = (x + np.float32(0.5)) / across - np.float32(0.5), (y + np.float32(0.5)) / down - np.float32(0.5)
    flow = cv2.remap(way.flow, *there, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    places = x + flow[..., 0] * across, y + flow[..., 1] * down
    part = cv2.remap(plane, *places, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return part.reshape(-1, plane.shape[2])[: len(rows)].astype(np.float32)


def _in_rows(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return values as rows of a picture, with zeros behind them: OpenCV has a largest width."""
    return np.pad(values, (0, -len(values) % ACROSS)).reshape(-1, ACROSS)
