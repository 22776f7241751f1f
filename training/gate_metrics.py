"""The gate's measures of one image: fidelity, levels, colours, grey, differences between frames. Pure arithmetic."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from training.degrade.apply import Pixels
from training.evaluate import metrics

_BLOCK = 32
"""Pixels of a side over which chroma is averaged: coarser than detail, finer than a cast over half a picture."""
_COLOURED = 4.0
"""Mean chroma in code values from which a picture counts as coloured."""

Floats = npt.NDArray[np.float64]


def psnr(made: Pixels, clean: Pixels, border: int) -> float:
    """Return the PSNR of luma in dB, at most 100."""
    return min(metrics.psnr(made, clean, border), 100.0)


def luma_shift(made: Pixels, clean: Pixels) -> float:
    """Return how far the mean luma is off, in code values."""
    return float(abs(_ycc(made)[..., 0].mean() - _ycc(clean)[..., 0].mean()))


def chroma_shift(made: Pixels, clean: Pixels) -> float:
    """Return how far coarse chroma is off in code values: the mean over blocks, of the worse of the two channels."""
    off = _coarse(_ycc(made)[..., 1:]) - _coarse(_ycc(clean)[..., 1:])
    return float(np.abs(off).mean((0, 1)).max())


def colourfulness(made: Pixels, clean: Pixels) -> float | None:
    """Return the share of the clean picture's mean chroma that is left; None for a picture that has next to none."""
    have, wanted = (float(np.hypot(*np.moveaxis(_ycc(p)[..., 1:], -1, 0)).mean()) for p in (made, clean))
    return have / wanted if wanted >= _COLOURED else None


def tint(made: Pixels) -> float:
    """Return the mean distance of a picture's channels from grey, in code values."""
    wide = made.astype(np.int16)
    return float((wide.max(2) - wide.min(2)).mean())


def grey(pixels: Pixels) -> Pixels:
    """Return the picture without colour, as three equal channels."""
    return np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)


def flicker(made: tuple[Pixels, Pixels], clean: tuple[Pixels, Pixels]) -> float:
    """Return the mean error of the difference between two neighbouring frames, in code values."""
    change, wanted = (b.astype(np.int16) - a.astype(np.int16) for a, b in (made, clean))
    return float(np.abs(change - wanted).mean())


def _ycc(pixels: Pixels) -> Floats:
    """BT.601 full range, chroma around 0."""
    matrix = np.array([[0.299, -0.168736, 0.5], [0.587, -0.331264, -0.418688], [0.114, 0.5, -0.081312]])
    return np.asarray(pixels.astype(np.float64) @ matrix, np.float64)


def _coarse(chroma: Floats) -> Floats:
    size = tuple(max(1, side // _BLOCK) for side in chroma.shape[1::-1])
    return np.asarray(cv2.resize(chroma, size, interpolation=cv2.INTER_AREA), np.float64).reshape(*size[::-1], 2)
