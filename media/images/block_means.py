"""Means of 16 x 16 blocks of a picture, summed up in any order of its parts: small enough to compare two decodings of any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

SIDE = 16
Samples = npt.NDArray[Any]
Means = npt.NDArray[np.float64]


class BlockMeans:
    """Sums samples of a picture of `width` x `height` by block. `top` is white: 1 for floats, the largest value of integers."""

    def __init__(self, width: int, height: int, channels: int, top: float = 255.0) -> None:
        self.shape = (-(-height // SIDE), -(-width // SIDE), channels)
        self._width, self._height, self._top = width, height, top
        self._sums = np.zeros(self.shape)
        self._rows = np.zeros(height, bool)

    def add(self, y: int, x: int, samples: Samples, channel: int = 0) -> None:
        """Add a part, h x w x channels, whose left edge `x` is a multiple of 16; what lies outside the picture is ignored."""
        samples = samples[: self._height - y, : self._width - x]
        height, width, depth = samples.shape
        if not samples.size:
            return
        wide = np.float64 if samples.dtype.kind == "f" else np.uint32
        first = y // SIDE
        starts = [0, *range(SIDE - y % SIDE, height, SIDE)]
        rows = np.add.reduceat(samples, starts, axis=0, dtype=wide)
        spare = -width % SIDE
        if spare:
            rows = np.pad(rows, ((0, 0), (0, spare), (0, 0)))
        blocks = rows.reshape(len(starts), -1, SIDE, depth).sum(axis=2, dtype=np.float64)
        column = x // SIDE
        self._sums[first : first + len(starts), column : column + blocks.shape[1], channel : channel + depth] += blocks
        self._rows[y : y + height] = True

    @property
    def rows(self) -> int:
        """Rows of which anything was added."""
        return int(self._rows.sum())

    def means(self) -> Means:
        """Means on a scale of 0 to 255, block rows x block columns x channels; blocks at the edges count their own pixels."""
        heights = np.minimum(SIDE, self._height - SIDE * np.arange(self.shape[0]))
        widths = np.minimum(SIDE, self._width - SIDE * np.arange(self.shape[1]))
        means: Means = self._sums / (heights[:, None] * widths[None, :])[..., None] * (255.0 / self._top)
        return means
