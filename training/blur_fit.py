"""The blur of an archive, fitted to how much less of each frequency its pictures have than clean ones of the same kind.

Model: the power of a damaged picture at frequency f is that of clean ones times |H(f)|^2, plus the noise; H is that of a
Gaussian with covariance S, so that log |H(f)|^2 = -4 pi^2 f'Sf is linear in S, and least squares find it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.degrade.apply import Pixels

_BLOCK = 32
_LEAST_BLOCKS = 12
_DRAWS = 60
_WIDER = 2.0
"""By how much the spread between drawn sets of pictures is widened: pictures of one kind differ more than a few show."""
_OVER_NOISE = 3.0
_LEAST_FREQUENCY = 1.5 / _BLOCK

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Blur:
    """A Gaussian's widths in pixels of the clean picture, (least, most); `angle` in radians of the wider one."""

    wide: tuple[float, float]
    narrow: tuple[float, float]
    angle: tuple[float, float]
    pictures: int


def spectra(pictures: Sequence[Pixels]) -> list[Floats]:
    """Return each picture's mean power spectrum of luma, over blocks that have structure; pictures without are left out."""
    return [found for found in (_spectrum(pixels) for pixels in pictures) if found is not None]


def fit(damaged: Sequence[Floats], clean: Sequence[Floats], noise: float, scale: int) -> Blur | None:
    """Fit the blur; `clean` are spectra of clean pictures made smaller by `scale`, `noise` a sigma in code values.

    The ranges are those of many fits to sets of pictures drawn with replacement. None when there is too little to fit.
    """
    if len(damaged) < 2 or len(clean) < 2:
        return None
    rng = np.random.default_rng(0)
    found = []
    for n in range(_DRAWS):
        picks = [range(len(s)) if n == 0 else rng.integers(0, len(s), len(s)) for s in (damaged, clean)]
        # The geometric mean: one picture full of detail must not speak for all.
        a, b = (
            np.exp(np.mean([np.log(s[i]) for i in pick], 0)) for s, pick in zip((damaged, clean), picks, strict=True)
        )
        one = _fit_one(a, b, noise, scale)
        if one is not None:
            found.append(one)
    if len(found) < _DRAWS // 2:
        return None
    wide, narrow, angles = (np.array(values) for values in zip(*found, strict=True))
    return Blur(_range(wide), _range(narrow), _angles(angles), len(damaged))


def _spectrum(pixels: Pixels) -> Floats | None:
    luma = pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    half = _BLOCK // 2
    window = np.outer(np.hanning(_BLOCK), np.hanning(_BLOCK))
    window /= np.sqrt((window**2).sum())
    powers = []
    for top in range(0, luma.shape[0] - _BLOCK + 1, half):
        for left in range(0, luma.shape[1] - _BLOCK + 1, half):
            block = luma[top : top + _BLOCK, left : left + _BLOCK]
            if block.std() >= 6:
                powers.append(np.abs(np.fft.rfft2((block - block.mean()) * window)) ** 2)
    return np.mean(powers, 0) + 1e-9 if len(powers) >= _LEAST_BLOCKS else None


def _fit_one(damaged: Floats, clean: Floats, noise: float, scale: int) -> tuple[float, float, float] | None:
    fy, fx = np.fft.fftfreq(_BLOCK)[:, None], np.fft.rfftfreq(_BLOCK)[None]
    fy, fx = np.broadcast_arrays(fy, fx)
    radius = np.hypot(fx, fy)
    level = noise * noise
    usable = (radius >= _LEAST_FREQUENCY) & (radius <= 0.45) & (damaged > _OVER_NOISE * level)
    if usable.sum() < 20:
        return None
    ratio = np.log((damaged - level)[usable] / clean[usable])
    x, y = fx[usable], fy[usable]
    # A picture's own energy falls with frequency: what is left above the noise counts by how sure it is.
    weight = np.sqrt(1 - level * _OVER_NOISE / damaged[usable] + 0.05)
    columns = np.stack([np.ones_like(x), -4 * math.pi**2 * x * x, -4 * math.pi**2 * y * y, -8 * math.pi**2 * x * y], 1)
    solution = np.linalg.lstsq(columns * weight[:, None], ratio * weight, rcond=None)[0]
    covariance = np.array([[solution[1], solution[3]], [solution[3], solution[2]]])
    values, vectors = np.linalg.eigh(covariance)
    narrow, wide = (math.sqrt(max(0.0, float(value))) * scale for value in values)
    angle = math.atan2(float(vectors[1, 1]), float(vectors[0, 1]))
    return wide, narrow, (angle + math.pi / 2) % math.pi - math.pi / 2


def _range(values: Floats) -> tuple[float, float]:
    low, middle, high = np.percentile(values, (5, 50, 95))
    # Never narrower than 10% each way: a Gaussian is a model, and archives' blurs are none.
    least, most = middle - (middle - low) * _WIDER, middle + (high - middle) * _WIDER
    return round(float(max(0.0, min(least, 0.9 * middle))), 2), round(float(max(most, 1.1 * middle)), 2)


def _angles(values: Floats) -> tuple[float, float]:
    """Range of directions, which repeat after half a turn."""
    middle = float(np.angle(np.exp(2j * values).mean())) / 2
    off = (values - middle + math.pi / 2) % math.pi - math.pi / 2
    low, high = np.percentile(off, (5, 95)) * _WIDER
    return round(middle + float(low), 3), round(middle + float(high), 3)
