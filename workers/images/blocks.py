"""How an image of any size is cut into blocks of its result, and what of the source each block must be shown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from workers.generators.enhancer import Enhancer
from workers.generators.lanczos import GRAIN, support

SMALLEST = 512
"""Source pixels a side. At four times the size, the float32 result of such a block is 50 MB."""
HALOS = 16
"""A block is at least so many halos wide, so that showing its surroundings costs at most a quarter more."""

Box = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels, bottom and right exclusive."""


@dataclass(frozen=True)
class Block:
    """`out` of the result is made from `shown` of the source. Sizes are (height, width) of the whole image:

    `source` as it is, `native` as the network enlarges it, `size` as the result is to be.
    """

    out: Box
    shown: Box
    source: tuple[int, int]
    native: tuple[int, int]
    size: tuple[int, int]


def blocks(
    source: tuple[int, int], size: tuple[int, int], enhancer: Enhancer, rows: tuple[int, int]
) -> Iterator[Block]:
    """Cut the rows [top, bottom) of a result of `size` (height, width) into blocks, row by row; `top` lies on GRAIN.

    Inner edges lie on the resampler's grain, and those of what is shown on the network's own multiple, so that a block
    is computed as the whole image would be.
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
    """`span` of the result in pieces as equal as the grain allows, each of about `side` source pixels."""
    first, last = span
    count = max(1, round((last - first) * source / size / side))
    step = math.ceil((last - first) / count / GRAIN) * GRAIN
    return [(start, min(start + step, last)) for start in range(first, last, step)]


def _shown(start: int, stop: int, source: int, native: int, size: int, enhancer: Enhancer) -> tuple[int, int]:
    """What of the source, along one axis, the result's `start` .. `stop` needs: halo, the resampler's reach, alignment."""
    low, high = (start, stop) if native == size else support(native, size, start, stop)
    low, high = low // enhancer.scale - enhancer.halo, -(-high // enhancer.scale) + enhancer.halo
    plain = support(source, size, start, stop)
    multiple = enhancer.architecture.multiple
    low = max(0, min(low, plain[0])) // multiple * multiple
    high = -(-max(high, plain[1]) // multiple) * multiple
    return low, min(source, high)
