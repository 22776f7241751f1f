"""Evidence about a film's faults over time, in frames of a few places: what the filters themselves would change, and its grain.

The filters measure and repair a place's frames as they would in a chunk, and their records are counted; nothing of the frames is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import tee, zip_longest
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from contract.evidence import Finding, Look
from contract.time_filters import DEFLICKER, DIRT, SCRATCHES, STABILISE
from workers.film.deflicker import Deflicker
from workers.film.dirt import DirtFiller
from workers.film.frame_marks import Clock
from workers.film.picture import Picture
from workers.film.repair import Repairer, Windowed
from workers.film.scratch_lines import Profile
from workers.film.scratches import ScratchFiller
from workers.film.spots import Find
from workers.film.stabilise import Stabiliser

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from contract.evidence import Place
    from contract.film import Colour

Field = npt.NDArray[np.float32]


class Scratches(ScratchFiller):
    """A filter of scratches that tells how far the picture travelled sideways in a shot."""

    def __init__(self, colour: Colour, clock: Clock) -> None:
        super().__init__(colour, clock)
        self._place = self._low = self._high = self.travelled = 0.0

    def link(self, before: Profile, after: Profile) -> float | None:
        """Measure as the filter does, and follow the picture."""
        moved = super().link(before, after)
        if moved is None:
            self._place = self._low = self._high = 0.0
        else:
            self._place += moved
            self._low, self._high = min(self._low, self._place), max(self._high, self._place)
            self.travelled = max(self.travelled, self._high - self._low)
        return moved


class Dirt(DirtFiller):
    """A filter of dirt that counts the clear spots of frames: those that are dirt, and others. Frames that repeat another count once."""

    def __init__(self, colour: Colour, clock: Clock) -> None:
        super().__init__(colour, clock)
        self.clear: dict[int, tuple[int, int]] = {}

    def chosen(self, position: int, own: Find, near: tuple[Find | None, Find | None]) -> list[int]:
        """Decide as the filter does, and count."""
        dirt = super().chosen(position, own, near)
        clear = (own.spots.areas >= CLEAR) & (np.abs(own.spots.contrast) >= max(SHARP, 5 * own.noise))
        found = int(clear[dirt].sum())
        self.clear[position] = found, int(clear.sum()) - found
        return dirt


Filter = Repairer[Any, Any] | Windowed
FILTERS: dict[str, Callable[[Colour, Clock], Filter]] = {
    DEFLICKER.name: Deflicker,
    DIRT.name: Dirt,
    SCRATCHES.name: Scratches,
    STABILISE.name: Stabiliser,
}
"""Filters that find their faults by themselves."""
BLOCK = 16
"""Side in pixels of the blocks in which grain is measured."""
SHADES = 24.0, 232.0
"""Mean code values of blocks in which it is: darker and brighter ones are cut off, or bars and titles."""
FLATTEST = 25
"""Percentile of the blocks' levels that is taken for the grain's: texture and motion only add to it."""
ENOUGH = 8
"""Blocks that it takes."""
STANDS = 1.5
"""A block stands still where it changes by no more than so many times the grain."""
EVERY = 6
"""Judged frames from one pair of which grain is measured to the next."""
CLEAR, SHARP = 12, 20.0
"""Pixels and code values of a clear spot: grain, and what flicker leaves, make many that are smaller or fainter (benchmarks/fidelity/evidence.py)."""
NEAR = 3
"""Columns within which lines of several frames are one scratch."""


def look(frames: Iterator[tuple[int, VideoFrame]], place: Place, names: tuple[str, ...], colour: Colour) -> Look | None:
    """Return what the filters `names` would change in the judged frames of a place; None where none of these frames comes.

    `frames` are those of the place, with their positions, after deinterlacing.
    """
    judged = range(place.start, place.start + place.judged)
    filters = {name: FILTERS[name](colour, Clock()) for name in names}
    own, *streams = tee(frames, len(filters) + 1)
    grain = _Grain(judged)
    needed = {DIRT.name: _half(judged)}
    made = [
        one.filtered(stream, needed.get(name, judged))
        for (name, one), stream in zip(filters.items(), streams, strict=True)
    ]
    decoded = 0
    # All go on together, so that no more frames are kept than the filters need.
    for frame, *_ in zip_longest(own, *made):
        if frame is not None:
            decoded += 1
            grain.see(*frame)
    if not grain.levels:
        return None
    looked = [at for at in _half(judged) if at in grain.levels]
    findings = tuple(
        _dirt(one, looked) if isinstance(one, Dirt) else _finding(name, one, grain.levels)
        for name, one in filters.items()
    )
    level, still = grain.result()
    return Look(place.start, decoded, len(grain.levels), findings, level, still)


def _half(judged: range) -> range:
    """Return the middle half of the judged frames: a search for dirt takes longer than all the others."""
    return judged[len(judged) // 4 :][: -(-len(judged) // 2)]


def _dirt(one: Dirt, looked: list[int]) -> Finding:
    """Return what was found in the frames in which dirt was looked for."""
    counts = [one.clear.get(at, (0, 0)) for at in looked]
    found, others = (
        (sum(column) / max(1, len(looked)) for column in zip(*counts, strict=True)) if counts else (0.0, 0.0)
    )
    frames = sum(count > 0 for count, _ in counts)
    return Finding(DIRT.name, frames, round(found, 2), looked=len(looked), others=round(others, 2))


def _finding(name: str, one: Filter, levels: dict[int, float]) -> Finding:
    """Return what the record of a filter amounts to; `levels` are the mean lumas of the judged frames."""
    records: dict[int, Any] = {at: record for at, record in one.found.items() if at in levels}
    if name == SCRATCHES.name:
        lines = [line for record in records.values() for line in record]
        columns = _columns(lines, len(levels) / 2)
        contrasts = [abs(line[2]) for line in lines if any(abs(line[0] - column) <= NEAR for column in columns)]
        travelled = round(one.travelled, 1) if isinstance(one, Scratches) else 0.0
        return Finding(name, len(records), round(max(contrasts, default=0.0), 1), columns, travelled)
    if name == DEFLICKER.name:
        moved = [
            max(abs(gain * levels[at] + offset - levels[at]), abs(local * levels[at]))
            for at, (gain, offset, local) in records.items()
        ]
    else:
        moved = [float(np.hypot(*shift)) for shift in records.values()]
    return Finding(name, len(records), round(float(np.sqrt(np.square(moved).sum() / len(levels))), 2))


def _columns(lines: list[list[float]], least: float) -> tuple[int, ...]:
    """Return the first columns of lines that are seen at least `least` times, give or take NEAR columns."""
    groups: list[list[int]] = []
    for column in sorted(int(line[0]) for line in lines):
        if groups and column - groups[-1][0] <= NEAR:
            groups[-1].append(column)
        else:
            groups.append([column])
    return tuple(int(np.median(group)) for group in groups if len(group) >= least)


class _Grain:
    """Levels of the judged frames, and the grain between some of them and the frame before."""

    def __init__(self, judged: range) -> None:
        self._judged = judged
        self._before: tuple[int, Field] | None = None
        self._measures: list[tuple[float, float]] = []
        self.levels: dict[int, float] = {}
        """Mean luma of each judged frame."""

    def see(self, position: int, frame: VideoFrame) -> None:
        """Take the next frame."""
        if position not in self._judged:
            self._before = None
            return
        luma = Picture(frame).luma()
        self.levels[position] = float(luma.mean())
        if (position - self._judged.start) % EVERY == 1 and self._before is not None:
            at, before = self._before
            if at == position - 1 and before.shape == luma.shape and (found := grain(before, luma)) is not None:
                self._measures.append(found)
        self._before = position, luma

    def result(self) -> tuple[float | None, float | None]:
        """Return the median level of the grain, and the median share of the picture that stands still."""
        if not self._measures:
            return None, None
        level, still = np.median(np.array(self._measures), axis=0)
        return round(float(level), 1), round(float(still), 2)


def grain(before: Field, after: Field) -> tuple[float, float] | None:
    """Return the level of fine change in code values, and the share of blocks that stand still; None for too small or dark pictures.

    Grain is new in each frame, and the fine detail of flat places: the smaller of both measures of a block counts. The spatial one is that of
    Immerkaer (1996, "Fast noise variance estimation"), which texture cannot pass for where nothing moves, and motion not where it is flat.
    """
    height, width = (side // BLOCK * BLOCK for side in after.shape)
    if not height or not width:
        return None
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    fine = cv2.filter2D(after, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101)[:height, :width]
    spatial = np.sqrt(_blocks(np.square(fine)).mean(axis=(1, 3)) / 36)
    temporal = _blocks((after - before)[:height, :width]).std(axis=(1, 3)) / np.sqrt(np.float32(2))
    mean = _blocks(after[:height, :width]).mean(axis=(1, 3))
    valid = (mean > SHADES[0]) & (mean < SHADES[1])
    if valid.sum() < ENOUGH:
        return None
    level = float(np.percentile(np.minimum(spatial, temporal)[valid], FLATTEST))
    still = temporal[valid] <= STANDS * max(level, 0.5)
    return level, float(still.mean())


def _blocks(field: Field) -> Field:
    height, width = field.shape
    return field.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
