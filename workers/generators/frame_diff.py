"""Differences between consecutive frames, so that only the parts that changed are computed again."""

from __future__ import annotations

import torch

from workers.generators.tiling import Box

GRAIN = 32
"""Side in pixels of the squares that are compared; a codec's blocks are 16 to 64."""
_WORTH = 0.85
"""Share of the whole frame's work above which patching saves nothing, as it takes more calls of the network."""


def changed_boxes(before: torch.Tensor, now: torch.Tensor, halo: int) -> list[Box] | None:
    """Return boxes outside of which the results of both frames are the same.

    `before` and `now` are 1 x 3 x H x W. Box edges are multiples of GRAIN or the frame's edge. A result depends on the pixels
    within `halo`, so every box reaches that far beyond the pixels that differ. None means that computing the whole frame costs
    less; an empty list means that the frames are equal.
    """
    if before.shape != now.shape:
        return None
    height, width = now.shape[-2:]
    squares = _reached((before != now).any(1)[0], halo)
    # Boxes cover all squares, of which only those at the edges may be smaller. Merging hundreds takes longer than the rest.
    inner = squares[: height // GRAIN, : width // GRAIN]
    if int(inner.sum()) * GRAIN**2 > _WORTH * height * width:
        return None
    boxes = _boxes([(int(y), int(x)) for y, x in squares.nonzero().tolist()])
    pixels = [(t * GRAIN, le * GRAIN, min(b * GRAIN, height), min(r * GRAIN, width)) for t, le, b, r in boxes]
    work = sum(
        (min(b + halo, height) - max(t - halo, 0)) * (min(r + halo, width) - max(le - halo, 0))
        for t, le, b, r in pixels
    )
    return pixels if work <= _WORTH * height * width else None


def _reached(differs: torch.Tensor, halo: int) -> torch.Tensor:
    """Mark the squares of GRAIN pixels that have a difference within `halo` pixels of them; `differs` is H x W.

    Differences are counted by a summed-area table (Crow 1984): four look-ups a square for a halo of any width. A maximum over the
    halo around every pixel took five times as long as the network.
    """
    height, width = differs.shape
    sums = torch.zeros((height + 1, width + 1), dtype=torch.int32, device=differs.device)
    sums[1:, 1:] = differs.cumsum(0, dtype=torch.int32).cumsum(1, dtype=torch.int32)
    top, left = (torch.arange(0, side, GRAIN, device=differs.device) for side in (height, width))
    above, below = (top - halo).clamp(min=0), (top + GRAIN + halo).clamp(max=height)
    before, after = (left - halo).clamp(min=0), (left + GRAIN + halo).clamp(max=width)
    lower, upper = sums[below], sums[above]
    return lower[:, after] - upper[:, after] - lower[:, before] + upper[:, before] > 0


def _boxes(squares: list[tuple[int, int]]) -> list[Box]:
    """Merge `squares` that touch into boxes that do not overlap."""
    boxes: list[Box] = []
    for y, x in squares:
        box = (y, x, y + 1, x + 1)
        while touching := [b for b in boxes if _touch(b, box)]:
            boxes = [b for b in boxes if b not in touching]
            touching.append(box)
            box = (
                min(b[0] for b in touching),
                min(b[1] for b in touching),
                max(b[2] for b in touching),
                max(b[3] for b in touching),
            )
        boxes.append(box)
    return boxes


def _touch(a: Box, b: Box) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]
