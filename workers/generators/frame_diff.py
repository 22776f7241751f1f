"""Nothing computed twice: what of a frame differs from the one before it, and which parts must therefore be made anew."""

from __future__ import annotations

import torch

from workers.generators.tiling import Box

GRAIN = 32
"""Pixels a side of the squares in which change is looked for; a codec's blocks are 16 to 64."""
_WORTH = 0.85
"""Share of the whole frame's work above which patching it saves nothing once more calls are counted."""


def changed(before: torch.Tensor, now: torch.Tensor, halo: int) -> list[Box] | None:
    """Boxes, on multiples of GRAIN or the frame's edge, outside of which the results of both frames are the same.

    `before` and `now` are 1 x 3 x H x W. A result depends on what lies within `halo` pixels, so every box
    reaches that far beyond what differs. None means that making the whole frame anew costs less; an empty list, that
    the frames are equal.
    """
    if before.shape != now.shape:
        return None
    height, width = now.shape[-2:]
    squares = _reached((before != now).any(1)[0], halo)
    boxes = _boxes([(int(y), int(x)) for y, x in squares.nonzero().tolist()])
    pixels = [(t * GRAIN, le * GRAIN, min(b * GRAIN, height), min(r * GRAIN, width)) for t, le, b, r in boxes]
    work = sum(
        (min(b + halo, height) - max(t - halo, 0)) * (min(r + halo, width) - max(le - halo, 0))
        for t, le, b, r in pixels
    )
    return pixels if work <= _WORTH * height * width else None


def _reached(differs: torch.Tensor, halo: int) -> torch.Tensor:
    """Which squares of GRAIN pixels have a difference within `halo` pixels of them; `differs` is H x W.

    Counted by a summed-area table (Crow 1984): four look-ups a square however wide the halo is. A maximum over the
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
    """Boxes that hold all `squares` and do not overlap: each square's own, grown together while they touch."""
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
