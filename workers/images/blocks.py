"""Blocks of the result of an image of any size, and the part of the source that each block needs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from workers.generators.enhancer import Enhancer
from workers.generators.lanczos import GRAIN, support

SMALLEST = 512
"""Side of a block in source pixels. At four times the size, its float32 result has 50 MB."""
HALOS = 16
"""Least side of a block in halos, so that computing its surroundings costs at most a quarter more."""

Box = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels, bottom and right exclusive."""


@dataclass(frozen=True)
class Block:
    """The part `out` of the result, computed from the part `shown` of the source.

    Sizes are (height, width) of the whole image: `source` of the source, `native` of the network's result, `size` of the
    final result.
    """

    out: Box
    shown: Box
    source: tuple[int, int]
    native: tuple[int, int]
    size: tuple[int, int]


def blocks(
    source: tuple[int, int], size: tuple[int, int], enhancer: Enhancer, rows: tuple[int, int]
) -> Iterator[Block]:
    """Cut the rows [top, bottom) of a result of `size` (height, width) into blocks, row by row; `top` is a multiple of GRAIN.

    Inner edges are multiples of the resampler's grain, and edges of `shown` are multiples of the network's own, so that a block
    has the same values as in the whole image.
    """
    native = (source[0] * enhancer.scale, source[1] * enhancer.scale)
    side = max(SMALLEST, HALOS * enhancer.halo)
    columns = _cuts(source[1], size[1], side, (0, size[1]))
    for top, bottom in _cuts(source[0], size[0], side, rows):
        first, last = _shown(top, bottom, source[0], native[0], size[0], enhancer)
        for left, right in columns:
            west, east = _shown(left, right, source[1], native[1], size[1], enhancer)
            yield Block((top, left, bottom, right), (first, west, last, east), source, native, size)


def _cuts(source: int, size: int, side: int, span: tuple[int, int]) -> list[tuple[int, int]]:
    """Cut `span` of the result into pieces as equal as the grain allows, each of about `side` source pixels."""
    first, last = span
    count = max(1, round((last - first) * source / size / side))
    step = math.ceil((last - first) / count / GRAIN) * GRAIN
    return [(start, min(start + step, last)) for start in range(first, last, step)]


def _shown(start: int, stop: int, source: int, native: int, size: int, enhancer: Enhancer) -> tuple[int, int]:
    """Return the part of the source, along one axis, that `start` .. `stop` of the result needs, with halo and alignment."""
    low, high = (start, stop) if native == size else support(native, size, start, stop)
    low, high = low // enhancer.scale - enhancer.halo, -(-high // enhancer.scale) + enhancer.halo
    plain = support(source, size, start, stop)
    multiple = enhancer.architecture.multiple
    low = max(0, min(low, plain[0])) // multiple * multiple
    high = -(-max(high, plain[1]) // multiple) * multiple
    return low, min(source, high)
