"""How a frame is cut into tiles whose seams cannot be seen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from workers.generators.network import Architecture

Box = tuple[int, int, int, int]
"""(top, left, bottom, right) in input pixels, bottom and right exclusive."""

SMALLEST = 32
"""Pixels. Below this a tile is nearly all halo, and an out-of-memory has another cause."""
ALIGNED = 4
"""Pixels. Tiles begin on multiples of this, so that kernels that work on squares of pixels see the same squares
in a tile as in the whole frame, and give the same bits."""


@dataclass(frozen=True)
class Tile:
    """A part of the input that is owned, and the larger part `outer` that the network is shown for it."""

    inner: Box
    outer: Box


def around(inner: Box, height: int, width: int, architecture: Architecture) -> Tile:
    """The tile that owns `inner` of a frame of `height` x `width`: with its halo, on aligned edges, within the frame."""
    grain = math.lcm(architecture.multiple, ALIGNED)
    halo = architecture.halo
    top, left, bottom, right = inner
    outer = (
        max(0, top - halo) // grain * grain,
        max(0, left - halo) // grain * grain,
        min(height, -(-(bottom + halo) // grain) * grain),
        min(width, -(-(right + halo) // grain) * grain),
    )
    return Tile(inner, outer)


def tiles(box: Box, size: int, height: int, width: int, architecture: Architecture) -> Iterator[Tile]:
    """Cut `box` of a frame of `height` x `width` into tiles that own at most `size` pixels a side, row by row.

    Rows and columns are as equal as they can be, because equal shapes are compiled once.
    """
    grain = math.lcm(architecture.multiple, ALIGNED)
    for top, bottom in _spans(box[0], box[2], size, grain):
        for left, right in _spans(box[1], box[3], size, grain):
            yield around((top, left, bottom, right), height, width, architecture)


def _spans(start: int, stop: int, size: int, grain: int) -> list[tuple[int, int]]:
    length = stop - start
    count = max(1, -(-length // size))
    step = max(grain, -(-length // count // grain) * grain)
    return [(at, min(at + step, stop)) for at in range(start, stop, step)]


def fitting(height: int, width: int, architecture: Architecture, free: int) -> int:
    """The largest tile that a frame of `height` x `width` can be worked on in, with half of `free` bytes: a multiple of 32.

    Half, because allocators keep what they were given and other processes live here too.
    """
    pixels = free / 2 / (architecture.memory * 4)
    if height * width <= pixels:
        return -(-max(height, width) // 32) * 32
    side = int(math.sqrt(pixels)) - 2 * architecture.halo
    return max(SMALLEST, side // 32 * 32)
