"""Presentation order: the frame that each packet becomes, and its time. Pure functions.

In an intact stream every packet gives one frame, and frames are shown in the order of their pts. Otherwise (no
timestamps, equal timestamps, decode times that run backwards in the middle of a group) nothing is guessed: a sequential
decode finds the order (`Disorder`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contract.film import UNPLACED
from contract.packets import DISCARD, KEY
from orchestrator.ingest.packets import EMPTY, HIDDEN, NONE, SECOND_FIELD, PacketTable

Column = npt.NDArray[np.int64]


class Disorder(Exception):
    """Raised, with the reason, when the packets alone do not tell the order of the frames."""


@dataclass(frozen=True)
class Segment:
    """Packets `start` .. `stop - 1`, whose timestamps ascend; `shift` is added so that the film continues without a jump."""

    start: int
    stop: int
    first_pts: int
    last_pts: int
    shift: int


@dataclass(frozen=True)
class Order:
    """`positions` of each packet id, and `pts` and `durations` of each position (time base units)."""

    positions: Column
    pts: Column
    durations: Column
    segments: tuple[Segment, ...]

    @property
    def packet_of(self) -> Column:
        """Return the id of the packet that gives each position."""
        placed = np.flatnonzero(self.positions >= 0)[::-1]  # the first of two fields wins
        ids = np.empty(len(self.pts), dtype=np.int64)
        ids[self.positions[placed]] = placed
        return ids


def find_order(table: PacketTable, reorder: bool, step: int, ungiven: frozenset[int] = frozenset()) -> Order:
    """Place the packets of `table` in presentation order.

    `reorder`: the codec shows frames in another order than it decodes them. `step` is the nominal frame duration in time
    base units, for frames without one. `ungiven` are ids of packets for which a decoder gives no frame. Raises Disorder when only a decoder can tell.
    """
    usable = (table.flags & (DISCARD | EMPTY | HIDDEN | SECOND_FIELD)) == 0
    usable[list(ungiven)] = False
    placed = np.flatnonzero(usable)
    if not len(placed):
        raise Disorder("every packet is marked as not to be shown")
    pts = table.pts[placed]
    if (pts == NONE).any():
        if reorder:
            raise Disorder("frames are reordered and their packets carry no presentation times")
        pts = _fill(np.where(pts == NONE, table.dts[placed], pts), step)
    keys = (table.flags[placed] & KEY) != 0
    bounds = [*_segments(pts, table.dts[placed], keys, reorder, step), len(placed)]
    positions = np.full(len(table), UNPLACED, dtype=np.int64)
    times: list[Column] = []
    segments: list[Segment] = []
    durations = table.duration[placed]
    lasting: list[Column] = []
    shift = 0
    for start, stop in itertools.pairwise(bounds):
        own = pts[start:stop]
        order = np.argsort(own, kind="stable")
        shown = own[order]
        if (np.diff(shown) <= 0).any():
            raise Disorder("several frames carry the same presentation time")
        if times:
            shift = int(times[-1][-1]) + (int(lasting[-1][-1]) or step) - int(shown[0])
        positions[placed[start:stop][order]] = np.arange(start, stop)
        times.append(shown + shift)
        lasting.append(durations[start:stop][order])
        last = int(placed[stop]) if stop < len(placed) else len(table)
        first = int(placed[start]) if start else 0
        segments.append(Segment(first, last, int(shown[0]), int(shown[-1]), shift))
    for second in np.flatnonzero((table.flags & SECOND_FIELD) != 0):
        positions[second] = positions[second - 1]
    return Order(positions, np.concatenate(times), np.concatenate(lasting), tuple(segments))


def _fill(pts: Column, step: int) -> Column:
    """Replace missing times of a stream without reordering by steps from the one before."""
    if (pts == NONE).all():
        return np.arange(len(pts), dtype=np.int64) * step
    filled = pts.copy()
    for i in np.flatnonzero(pts == NONE):
        filled[i] = filled[i - 1] + step if i else pts[pts != NONE][0] - step * int(np.argmax(pts != NONE))
    return filled


def _segments(pts: Column, dts: Column, keys: npt.NDArray[np.bool_], reorder: bool, step: int) -> list[int]:
    """Find restarts of the clock: packets after which everything is shown later, but the clock fell by a frame or more.

    A fall smaller than `step` is a repeated or misplaced time and not a restart.
    """
    starts = [0]
    known = dts != NONE
    reached = int(pts[0])
    for i in range(1, len(pts)) if _falls(pts, dts, known, keys, reorder) else ():
        fell = known[i] and known[i - 1] and dts[i] < dts[i - 1]
        if not reorder:
            fell = fell or pts[i] <= pts[i - 1]
        if keys[i] and pts[i] <= reached - step:
            starts.append(i)
            reached = int(pts[i])
        elif keys[i] and not fell and pts[i] <= reached:
            raise Disorder("a group of pictures begins before the one before it has ended")
        elif fell:
            raise Disorder("timestamps run backwards, or stand still, in the middle of the film")
        reached = max(reached, int(pts[i]))
    return starts


def _falls(pts: Column, dts: Column, known: npt.NDArray[np.bool_], keys: npt.NDArray[np.bool_], reorder: bool) -> bool:
    """Return True if time runs backwards anywhere; vectorised, since it hardly ever does."""
    if (np.diff(dts[known]) < 0).any():
        return True
    if not reorder:
        return bool((np.diff(pts) <= 0).any())
    before = np.maximum.accumulate(pts)[:-1]
    return bool((keys[1:] & (pts[1:] <= before)).any())
