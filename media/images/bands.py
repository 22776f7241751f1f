"""Plan that shares out a large image between workers: bands of rows of the result, equal on every side. Pure."""

from __future__ import annotations

STRIP = 128
"""Rows of a TIFF strip; bands end with one, so that they are put together without decoding."""
BAND = 16_000_000
"""Source pixels of a band: half a minute to three minutes of a worker's time, large beside its halo and its fetch."""


def band_count(width: int, height: int, result_height: int) -> int:
    """Bands for a source of `width` x `height` whose result has `result_height` rows; 1 for one that stays whole."""
    if width * height <= 2 * BAND:
        return 1
    return -(-result_height // _step(result_height, -(-width * height // BAND)))


def band_rows(result_height: int, band: int, count: int) -> tuple[int, int]:
    """Rows [top, bottom) of the result that `band` of `count` owns; `count` is what `band_count` gave."""
    step = _step(result_height, count)
    return band * step, min(result_height, (band + 1) * step)


def _step(result_height: int, count: int) -> int:
    return -(-result_height // (count * STRIP)) * STRIP
