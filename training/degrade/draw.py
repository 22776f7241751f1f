"""The random parameters of one degradation, drawn once and recorded: plain numbers, no pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import numpy as np
from msgspec import Meta, Struct

from contract.errors import UsageError

KernelShape = Literal[
    "iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso", "sinc", "pulse"
]
Resampling = Literal["area", "bilinear", "bicubic"]

# The side lengths in the paper, and the length to which all kernels are padded.
KERNEL_SIZES = tuple(range(7, 22, 2))
PAD_TO = KERNEL_SIZES[-1]
# Integers below this are exact in every JSON parser.
SEEDS = 2**53


class Kernel(Struct, frozen=True, forbid_unknown_fields=True):
    """A blur. `sigma_*` are in pixels, `theta` and `cutoff` in radians; `beta` is the exponent that changes a Gaussian's shape."""

    shape: KernelShape
    size: Annotated[int, Meta(ge=1, le=PAD_TO)] = PAD_TO
    sigma_x: float = 0.0
    sigma_y: float = 0.0
    theta: float = 0.0
    beta: float = 1.0
    cutoff: float = 0.0


class Noise(Struct, frozen=True, forbid_unknown_fields=True):
    """Noise. `amount` is the sigma in code values of 255 for Gaussian noise, the multiplier of shot noise for Poisson."""

    kind: Literal["gaussian", "poisson"]
    amount: float
    grey: bool


class Round(Struct, frozen=True, forbid_unknown_fields=True):
    """One pass: blur, resize by `factor` (relative to the source in pass 1, to the result in pass 2), noise and JPEG."""

    blur: Kernel
    factor: Annotated[float, Meta(gt=0, le=4)]
    resampling: Resampling
    noise: Noise
    jpeg: Annotated[int, Meta(ge=1, le=100)]


class Draw(Struct, frozen=True, forbid_unknown_fields=True):
    """All draws of one image or one shot, and the seed of its noise.

    `rounds` are one or two passes. The last pass ends with a resize to the final size together with `sinc`,
    before its JPEG if `sinc_first`, after it otherwise.
    """

    seed: Annotated[int, Meta(ge=0, lt=SEEDS)]
    rounds: tuple[Round, ...]
    resampling: Resampling
    sinc: Kernel
    sinc_first: bool


@dataclass(frozen=True)
class RoundRanges:
    """The ranges of one pass. Pairs are (least, most); the resize probabilities are those of up, down and unchanged."""

    blur_probability: float
    resize_probability: tuple[float, float, float]
    resize: tuple[float, float]
    blur_sigma: tuple[float, float]
    gaussian_noise: tuple[float, float]
    poisson_noise: tuple[float, float]
    jpeg: tuple[int, int] = (30, 95)
    sinc_probability: float = 0.1
    generalized_beta: tuple[float, float] = (0.5, 4.0)
    plateau_beta: tuple[float, float] = (1.0, 2.0)
    gaussian_probability: float = 0.5
    grey_probability: float = 0.4


@dataclass(frozen=True)
class Ranges:
    """The paper's ranges (options/train_realesrgan_x4plus.yml of the Real-ESRGAN release)."""

    first: RoundRanges = RoundRanges(
        blur_probability=1.0,
        resize_probability=(0.2, 0.7, 0.1),
        resize=(0.15, 1.5),
        blur_sigma=(0.2, 3.0),
        gaussian_noise=(1.0, 30.0),
        poisson_noise=(0.05, 3.0),
    )
    second: RoundRanges = RoundRanges(
        blur_probability=0.8,
        resize_probability=(0.3, 0.4, 0.3),
        resize=(0.3, 1.2),
        blur_sigma=(0.2, 1.5),
        gaussian_noise=(1.0, 25.0),
        poisson_noise=(0.05, 2.5),
    )
    final_sinc_probability: float = 0.8


SHAPES: tuple[tuple[KernelShape, float], ...] = (
    ("iso", 0.45),
    ("aniso", 0.25),
    ("generalized_iso", 0.12),
    ("generalized_aniso", 0.03),
    ("plateau_iso", 0.12),
    ("plateau_aniso", 0.03),
)
RESAMPLINGS: tuple[Resampling, ...] = ("area", "bilinear", "bicubic")
PULSE = Kernel(shape="pulse")

T = TypeVar("T")


def draw(seed: int, order: int = 2, ranges: Ranges | None = None) -> Draw:
    """Draw one degradation; the same seed, order and ranges give the same draw.

    Order 1 is one pass without the final sinc filter (the classical model), order 2 is the paper's.
    Raises UsageError for a seed below 0 or an order that is neither 1 nor 2.
    """
    if not 0 <= seed < SEEDS:
        raise UsageError(f"seed is {seed}; give an integer from 0 to {SEEDS - 1}.")
    if order not in (1, 2):
        raise UsageError(f"order is {order}; give 1 (one pass) or 2 (the paper's two passes).")
    ranges = ranges or Ranges()
    rng = np.random.default_rng(seed)
    rounds = [_round(rng, ranges.first)]
    if order == 2:
        rounds.append(_round(rng, ranges.second))
    sharp = order == 2 and rng.random() < ranges.final_sinc_probability
    sinc = Kernel(shape="sinc", size=_pick(rng, KERNEL_SIZES), cutoff=_between(rng, (math.pi / 3, math.pi)))
    return Draw(
        seed=int(rng.integers(SEEDS)),
        rounds=tuple(rounds),
        resampling=_pick(rng, RESAMPLINGS),
        sinc=sinc if sharp else PULSE,
        sinc_first=bool(rng.random() < 0.5),
    )


def _round(rng: np.random.Generator, ranges: RoundRanges) -> Round:
    blur = _blur(rng, ranges)
    if rng.random() >= ranges.blur_probability:
        blur = PULSE
    up, down, _ = ranges.resize_probability
    direction = rng.random()
    if direction < up:
        factor = _between(rng, (1.0, ranges.resize[1]))
    elif direction < up + down:
        factor = _between(rng, (ranges.resize[0], 1.0))
    else:
        factor = 1.0
    resampling = _pick(rng, RESAMPLINGS)
    gaussian = rng.random() < ranges.gaussian_probability
    noise = Noise(
        kind="gaussian" if gaussian else "poisson",
        amount=_between(rng, ranges.gaussian_noise if gaussian else ranges.poisson_noise),
        grey=bool(rng.random() < ranges.grey_probability),
    )
    jpeg = int(rng.integers(ranges.jpeg[0], ranges.jpeg[1] + 1))
    return Round(blur=blur, factor=factor, resampling=resampling, noise=noise, jpeg=jpeg)


def _blur(rng: np.random.Generator, ranges: RoundRanges) -> Kernel:
    size = _pick(rng, KERNEL_SIZES)
    if rng.random() < ranges.sinc_probability:
        # Small kernels are too short for the long ripples of a low cutoff.
        lowest = math.pi / 3 if size < 13 else math.pi / 5
        return Kernel(shape="sinc", size=size, cutoff=_between(rng, (lowest, math.pi)))
    shape = SHAPES[int(rng.choice(len(SHAPES), p=[weight for _, weight in SHAPES]))][0]
    sigma_x = _between(rng, ranges.blur_sigma)
    isotropic = shape in ("iso", "generalized_iso", "plateau_iso")
    sigma_y = sigma_x if isotropic else _between(rng, ranges.blur_sigma)
    theta = 0.0 if isotropic else _between(rng, (-math.pi, math.pi))
    beta = 1.0
    if shape.startswith(("generalized", "plateau")):
        least, most = ranges.generalized_beta if shape.startswith("generalized") else ranges.plateau_beta
        # The paper draws below and above 1 (the normal distribution) with equal probability.
        beta = _between(rng, (least, 1.0) if rng.random() < 0.5 else (1.0, most))
    return Kernel(shape=shape, size=size, sigma_x=sigma_x, sigma_y=sigma_y, theta=theta, beta=beta)


def _between(rng: np.random.Generator, pair: tuple[float, float]) -> float:
    return float(rng.uniform(*pair))


def _pick(rng: np.random.Generator, values: tuple[T, ...]) -> T:
    return values[int(rng.integers(len(values)))]
