"""How a frame is cut into tiles whose seams cannot be seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from workers.generators.network import Architecture

SMALLEST = 32
"""Pixels. Below this a tile is nearly all halo, and an out-of-memory has another cause."""


@dataclass(frozen=True)
class Tile:
    """A rectangle of the input, the part that it owns, and the larger part `outer` that the network is shown.

    Each is (top, left, bottom, right) in input pixels, bottom and right exclusive.
    """

    inner: tuple[int, int, int, int]
    outer: tuple[int, int, int, int]


def tiles(height: int, width: int, tile: int, architecture: Architecture) -> Iterator[Tile]:
    """Cut `height` x `width` into tiles of at most `tile` pixels a side, row by row, each with its halo.

    Rows and columns are as equal as they can be, because equal shapes are compiled once. Outer edges lie on the architecture's `multiple`.
    """
    multiple = architecture.multiple
    halo = -(-architecture.halo // multiple) * multiple
    for top, bottom in _spans(height, tile, multiple):
        for left, right in _spans(width, tile, multiple):
            yield Tile(
                (top, left, bottom, right),
                (max(0, top - halo), max(0, left - halo), min(height, bottom + halo), min(width, right + halo)),
            )


def _spans(length: int, tile: int, multiple: int) -> list[tuple[int, int]]:
    count = -(-length // tile)
    step = -(-length // count)
    step = -(-step // multiple) * multiple
    return [(start, min(start + step, length)) for start in range(0, length, step)]


def fitting(height: int, width: int, architecture: Architecture, free: int, bytes_per_value: int = 4) -> int:
    """The largest tile size (0 for the whole frame) whose working set is at most half of `free` bytes."""
    pixels = free / 2 / (architecture.memory * bytes_per_value)
    if height * width <= pixels:
        return 0
    side = int(pixels**0.5) - 2 * architecture.halo
    return max(SMALLEST, side // 32 * 32)
