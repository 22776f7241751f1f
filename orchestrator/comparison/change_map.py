"""The change map: place and size of the differences between an enhancement and plain resampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyvips

from orchestrator.comparison.before_after import Pair

VISIBLE = 8
"""Code values of 255. A smaller difference is hard to see beside the original, even for somebody who looks for it."""
FULL = 64
"""Code values of 255 from which on the map has its brightest colour."""
# Black, violet, orange, pale yellow: dark where nothing changed, readable in grey and for the colour-blind
# (points of matplotlib's inferno, CC0).
COLOURS = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float64)


@dataclass(frozen=True)
class Change:
    """Difference of one result from its source resampled by Lanczos, in code values of 255.

    `map` is an 8-bit RGB picture of the result's size, `mean` the mean difference, `most` its 99.9th percentile, `share`
    the share of pixels that differ by more than VISIBLE, `hottest` the corner (left, top) of the window that differs most.
    """

    map: pyvips.Image
    mean: float
    most: float
    share: float
    hottest: tuple[int, int]


def change(pair: Pair, window: int = 128) -> Change:
    """Compare a pair; `window` is the side in pixels of the square that is searched for the most change."""
    plain = resampled(pair.before, pair.after, "lanczos3")
    apart = (plain.cast("float") - pair.after.cast("float")).abs()
    strongest = apart[0].bandrank([apart[1], apart[2]], index=2)
    # The histogram answers every question about the distribution, whatever the picture's size.
    counts = np.frombuffer(strongest.cast("uchar").hist_find().write_to_memory(), np.uint32).astype(np.float64)
    levels = np.arange(len(counts))
    total = counts.sum()
    below = np.cumsum(counts) / total
    return Change(
        map=_coloured(strongest),
        mean=float((counts * levels).sum() / total),
        most=float(np.searchsorted(below, 0.999)),
        share=float(counts[VISIBLE + 1 :].sum() / total),
        hottest=_hottest(strongest, window),
    )


def resampled(before: pyvips.Image, like: pyvips.Image, kernel: str) -> pyvips.Image:
    """Resample `before` to the size of `like` by one of libvips' kernels (nearest, lanczos3)."""
    horizontal, vertical = like.width / before.width, like.height / before.height
    made = before.resize(horizontal, vscale=vertical, kernel=kernel)
    return made.crop(0, 0, like.width, like.height) if (made.width, made.height) != (like.width, like.height) else made


def _coloured(strongest: pyvips.Image) -> pyvips.Image:
    positions = np.linspace(0, 1, len(COLOURS))
    levels = np.clip(np.arange(256) / FULL, 0, 1)
    table = np.stack([np.interp(levels, positions, COLOURS[:, band]) for band in range(3)], -1).astype(np.uint8)
    lookup = pyvips.Image.new_from_memory(table.tobytes(), 256, 1, 3, "uchar")
    return strongest.cast("uchar").maplut(lookup).copy(interpretation="srgb")


def _hottest(strongest: pyvips.Image, window: int) -> tuple[int, int]:
    """Find the corner of the window with the most change, on a copy in which a window is 8 pixels wide."""
    step = max(1, window // 8)
    if strongest.width < 2 * step or strongest.height < 2 * step:
        return 0, 0
    small = strongest.shrink(step, step).gaussblur(2)
    _, options = small.max(x=True, y=True)
    left = options["x"] * step - window // 2
    top = options["y"] * step - window // 2
    return max(0, min(left, strongest.width - window)), max(0, min(top, strongest.height - window))
