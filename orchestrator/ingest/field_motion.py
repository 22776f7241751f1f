"""Motion between the two fields of a frame, which only interlaced film has.

FFmpeg's idet compares neighbouring lines in time and takes scrolling titles for interlaced fields. Here the motion from
frame to frame is measured first, block by block. In a progressive film both fields of a frame show one moment; in an
interlaced film the second field shows things half way on. Each moving block votes for the hypothesis that predicts its
lines better.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Luma = npt.NDArray[np.floating[Any]]

BLOCK = 64
"""Pixels a side of a block."""
BLOCKS = 24
"""Blocks of a pair of frames that are looked at, those that change most."""
REACH = 24
"""Largest motion in pixels a frame that is followed."""
CHANGED = 3.0
"""Mean difference in code values (of 255) from which on a block has moved."""
FOLLOWED = 0.5
"""Share of that difference that may be left when the motion is followed."""
BETTER = 0.75
"""Share of the other hypothesis' error below which a block votes."""
NOISE = 2.0
"""Mean error of a line, in code values, up to which it tells nothing."""
LINES = 4
"""Lines of a block that must agree."""
ENOUGH = 6
"""Votes that it takes to judge."""
SURE, UNLIKELY = 0.8, 0.4
"""Share of progressive votes from which on a film is progressive, and up to which it is interlaced."""


@dataclass
class Votes:
    """Blocks that are better explained as progressive, or as interlaced with the top or bottom field first."""

    progressive: int = 0
    top: int = 0
    bottom: int = 0

    @property
    def verdict(self) -> str:
        """progressive, interlaced, or "" where the votes are few or divided."""
        total = self.progressive + self.top + self.bottom
        if total < ENOUGH:
            return ""
        share, fields = self.progressive / total, self.top + self.bottom
        if share >= SURE:
            return "progressive"
        return "interlaced" if share <= UNLIKELY and max(self.top, self.bottom) >= SURE * fields else ""

    def __str__(self) -> str:
        return (
            f"of moving blocks, {self.progressive} look progressive, {self.top} top field first, "
            f"{self.bottom} bottom field first"
        )


def vote(frames: Sequence[Luma], votes: Votes) -> None:
    """Add the votes of all moving blocks in `frames` (H x W, in order, H even, the first line in the top field)."""
    for before, after in itertools.pairwise(frames):
        if before.shape == after.shape:
            _vote_pair(before, after, votes)


def _vote_pair(before: Luma, after: Luma, votes: Votes) -> None:
    height, width = before.shape
    corners = [
        (y, x)
        for y in range(REACH, height - BLOCK - REACH + 1, BLOCK)
        for x in range(REACH, width - BLOCK - REACH + 1, BLOCK)
    ]
    change = {c: float(np.abs(_cut(after, *c) - _cut(before, *c)).mean()) for c in corners}
    for corner in sorted(change, key=lambda c: -change[c])[:BLOCKS]:
        if change[corner] < CHANGED:
            return
        moved = motion(_cut(before, *corner), _cut(after, *corner))
        if moved is not None and moved != (0, 0):
            _vote_block(before, after, corner, moved, change[corner], votes)


def _cut(frame: Luma, y: int, x: int) -> Luma:
    return frame[y : y + BLOCK, x : x + BLOCK]


def motion(before: Luma, after: Luma) -> tuple[int, int] | None:
    """Return (lines, columns) by which a block has moved, by phase correlation; None where that is beyond REACH."""
    window = np.outer(np.hanning(BLOCK), np.hanning(BLOCK)).astype(np.float32)
    first = np.fft.rfft2((before - before.mean()) * window)
    second = np.fft.rfft2((after - after.mean()) * window)
    cross = second * np.conj(first)
    surface = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-6), s=before.shape)
    y, x = (int(v) for v in np.unravel_index(int(surface.argmax()), surface.shape))
    y, x = (v - BLOCK if v > BLOCK // 2 else v for v in (y, x))
    return (y, x) if max(abs(y), abs(x)) <= REACH else None


def _vote_block(
    before: Luma, after: Luma, corner: tuple[int, int], moved: tuple[int, int], change: float, votes: Votes
) -> None:
    y, x = corner
    down, right = moved
    target = _cut(after, y, x)
    followed = _cut(before, y - down, x - right)
    if np.abs(target - followed).mean() > FOLLOWED * change:
        return
    if down % 2:
        # A progressive film's lines all move; a field's lines come from its own lines, an odd number of lines apart.
        whole = float(np.abs(target - followed)[0::2].mean())
        own = (_cut(before, y - down - 1, x - right) + _cut(before, y - down + 1, x - right)) / 2
        field = float(np.abs(target - own)[0::2].mean())
        if whole < BETTER * field:
            votes.progressive += 1
        return
    near = abs(down) != 2  # else either neighbour of a line would pass for a motion of one line
    errors = {s: _between_fields(after, corner, s * down / 2, s * right / 2, near) for s in (0, 1, -1)}
    still, top, bottom = errors[0], errors[1], errors[-1]
    moving = top if top.mean() < bottom.mean() else bottom
    # Line by line: thin horizontal lines, which one field alone holds, are equally wrong either way.
    clear = np.maximum(still, moving) > NOISE
    for_still = int((clear & (still < BETTER * moving)).sum())
    for_moving = int((clear & (moving < BETTER * still)).sum())
    if for_still >= LINES and for_still > 3 * for_moving:
        votes.progressive += 1
    elif for_moving >= LINES and for_moving > 3 * for_still:
        votes.top += moving is top
        votes.bottom += moving is bottom


def _between_fields(frame: Luma, corner: tuple[int, int], down: float, right: float, near: bool) -> Luma:
    """Return the error of predicting each line of a block's bottom field from the top field moved by (`down`, `right`).

    `near` lets each of the two neighbouring lines stand for the one between them: thin lines are not blurred then.
    """
    y, x = corner
    y += 1 - y % 2  # the first line of the bottom field
    rows = slice(y, y + BLOCK - 1, 2)
    target = frame[rows, x : x + BLOCK]
    count = len(target)
    lines = y - round(down)

    def top(line: int) -> Luma:
        start = x - int(np.floor(right))
        part = frame[line : line + 2 * count : 2]
        if right == int(right):
            return part[:, start : start + BLOCK]
        return (part[:, start : start + BLOCK] + part[:, start - 1 : start - 1 + BLOCK]) / 2

    if lines % 2 == 0:
        guesses = [top(lines)]
    else:
        above, below = top(lines - 1), top(lines + 1)
        guesses = [(above + below) / 2, *([above, below] if near else [])]
    errors: Luma = np.min([np.abs(target - guess).mean(axis=1) for guess in guesses], axis=0).astype(np.float32)
    return errors
