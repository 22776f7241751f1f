"""The noise of pictures: from flat patches of one picture, or from what changes in the static areas of two frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from training.degrade.apply import Pixels

_BLOCK = 8
_FLATTEST = 0.05
"""Share of the blocks, the flattest by their neighbours' means, that noise is read from."""
_LEAST_BLOCKS = 24
_STATIC = 0.3
_FINE = 7
"""Sum of a DCT coefficient's indices from which it counts as fine: the upper half of an 8 x 8 block."""
_LOW = 3
_MIDDLE, _LEAST_COEFFICIENTS = 3, 5
_DARK, _BRIGHT = 12, 243
"""Code values beyond which clipping hides part of the noise."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """Sigma of the noise of luma in code values of 255, read from `blocks` blocks.

    `chroma` is that of the difference of red and green, which distinguishes coloured noise from grey; NaN where it was not measured.
    """

    luma: float
    chroma: float
    blocks: int


def of_picture(pixels: Pixels, table: npt.NDArray[np.int64] | None = None) -> Noise | None:
    """Measure noise on the flattest blocks of a picture; None when too few are flat and unclipped.

    `table` is a JPEG's luma table in natural order: of its coefficients only those are used that were quantised finely, and
    `chroma` is not measured, since JPEG halves it. None when none was.
    """
    rgb = pixels.astype(np.float64)
    blocks = _blocks(rgb)
    if len(blocks) < _LEAST_BLOCKS:
        return None
    means = blocks.mean((1, 2))
    usable = ((means > _DARK) & (means < _BRIGHT)).all(1)
    blocks = blocks[usable]
    if len(blocks) < _LEAST_BLOCKS:
        return None
    luma = blocks @ np.array([0.299, 0.587, 0.114])
    # Low frequencies tell structure from noise without choosing blocks by the noise itself.
    structure = _low_energy(luma)
    count = max(_LEAST_BLOCKS, int(len(blocks) * _FLATTEST))
    chosen = np.argsort(structure, kind="stable")[:count]
    fine = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK)) >= _FINE
    if table is not None:
        return _of_jpeg(luma[chosen], table.reshape(_BLOCK, _BLOCK), count)
    apart = blocks[chosen, :, :, 0] - blocks[chosen, :, :, 1]
    return Noise(_level(luma[chosen], fine), _level(apart, fine), count)


def of_frames(first: Pixels, second: Pixels) -> Noise | None:
    """Measure noise on what does not move between two neighbouring frames; None when nearly all moves."""
    a, b = (_blocks(frame.astype(np.float64)) for frame in (first, second))
    means = (a.mean((1, 2)) + b.mean((1, 2))) / 2
    usable = ((means > _DARK) & (means < _BRIGHT)).all(1)
    if usable.sum() < _LEAST_BLOCKS:
        return None
    moved = _without_plane((b - a)[usable]) / np.sqrt(2)
    grey = moved @ np.array([0.299, 0.587, 0.114])
    energy = np.sqrt((grey**2).mean((1, 2)))
    count = max(_LEAST_BLOCKS, int(len(energy) * _STATIC))
    chosen = np.argsort(energy, kind="stable")[:count]
    # The quietest third of blocks of equal noise is quieter than the mean by an amount that the median does not have.
    level = float(np.median(energy)) if np.median(energy) < 1.5 * energy[chosen].max() else float(energy[chosen].max())
    apart = (moved[..., 0] - moved[..., 1])[chosen]
    return Noise(level, float(np.sqrt(np.median((apart**2).mean((1, 2))))), count)


def _blocks(image: Floats) -> Floats:
    rows, columns = image.shape[0] // _BLOCK, image.shape[1] // _BLOCK
    cut = image[: rows * _BLOCK, : columns * _BLOCK]
    return cut.reshape(rows, _BLOCK, columns, _BLOCK, 3).swapaxes(1, 2).reshape(-1, _BLOCK, _BLOCK, 3)


def _without_plane(blocks: Floats) -> Floats:
    """Take the mean and the gradient out of each block and channel."""
    ramp = np.arange(_BLOCK) - (_BLOCK - 1) / 2
    unit = ramp / np.sqrt((ramp**2).sum() * _BLOCK)
    across, down = np.broadcast_to(unit, (_BLOCK, _BLOCK)), np.broadcast_to(unit[:, None], (_BLOCK, _BLOCK))
    rest = blocks - blocks.mean((1, 2), keepdims=True)
    for plane in (across, down):
        rest = rest - np.einsum("nyxc,yx->nc", rest, plane)[:, None, None, :] * plane[None, :, :, None]
    return np.asarray(rest, np.float64)


def _low_energy(luma: Floats) -> Floats:
    """Energy of a block's lowest frequencies but its mean."""
    found = np.empty(len(luma))
    for n, block in enumerate(luma):
        low = cv2.dct(block)[:_LOW, :_LOW]
        found[n] = (low**2).sum() - low[0, 0] ** 2
    return found


def _of_jpeg(luma: Floats, steps: npt.NDArray[np.int64], count: int) -> Noise | None:
    order = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK))
    for finest in (2, 3, 4, 6, 8):
        usable = (order >= _MIDDLE) & (steps <= finest)
        usable[:_LOW, :_LOW] = False  # by these the blocks were chosen, so they are smaller than elsewhere
        if usable.sum() < _LEAST_COEFFICIENTS:
            continue
        level = _level(luma, usable)
        rounding = float((steps[usable] ** 2).mean()) / 12
        level = math.sqrt(max(0.0, level * level - rounding))
        if level >= 0.75 * finest:
            return Noise(level, math.nan, count)
    return None


def _level(blocks: Floats, used: npt.NDArray[np.bool_]) -> float:
    """Return the standard deviation of white noise by the blocks' DCT coefficients `used`.

    The median over blocks is not moved by a few structured ones.
    """
    energies = [float((cv2.dct(block)[used] ** 2).mean()) for block in blocks]
    return float(np.sqrt(np.median(energies)))
