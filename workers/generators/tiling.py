"""Tiles of a frame, each with a halo so that no seams are visible."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from workers.generators.network import Architecture

Box = tuple[int, int, int, int]
"""(top, left, bottom, right) in input pixels, bottom and right exclusive."""

SMALLEST = 32
"""Pixels. Below this size a tile is nearly all halo, and an out-of-memory error has another cause."""
ALIGNED = 4
"""Pixels. Tiles begin on multiples of this, so that kernels that work on squares of pixels see the same squares
in a tile as in the whole frame, and return the same bits."""


@dataclass(frozen=True)
class Tile:
    """The part `inner` of the input that the tile owns, and the larger part `outer` that is passed to the network for it."""

    inner: Box
    outer: Box


def tile_around(inner: Box, height: int, width: int, architecture: Architecture) -> Tile:
    """Return the tile that owns `inner` of a frame of `height` x `width`.

    Its outer part adds the halo, ends on aligned edges, and stays within the frame.
    """
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

    Rows and columns are as equal as possible, because each shape is compiled once.
    """
    grain = math.lcm(architecture.multiple, ALIGNED)
    for top, bottom in _spans(box[0], box[2], size, grain):
        for left, right in _spans(box[1], box[3], size, grain):
            yield tile_around((top, left, bottom, right), height, width, architecture)


def _spans(start: int, stop: int, size: int, grain: int) -> list[tuple[int, int]]:
    length = stop - start
    count = max(1, -(-length // size))
    step = max(grain, -(-length // count // grain) * grain)
    return [(at, min(at + step, stop)) for at in range(start, stop, step)]


def largest_tile(height: int, width: int, architecture: Architecture, free: int, element: int = 4) -> int:
    """Return the side in pixels, a multiple of 32, of the largest tile of a frame that fits into half of `free` bytes.

    Half, because allocators keep freed memory and other processes need some too. `element` is the bytes of one value within the
    network; what goes in and comes out has four.
    """
    ends = 3 * (1 + architecture.scale**2)
    each = architecture.memory * 4 if element == 4 else architecture.memory * element + ends * 4
    pixels = free / 2 / each
    if height * width <= pixels:
        return -(-max(height, width) // 32) * 32
    side = int(math.sqrt(pixels)) - 2 * architecture.halo
    return max(SMALLEST, side // 32 * 32)
