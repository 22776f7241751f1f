"""The random parameters of one degradation, drawn once and recorded: plain numbers, no pixels."""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeVar

import numpy as np
from msgspec import Meta, Struct

from contract.errors import UsageError
from training.degrade.ranges import KERNEL_SIZES, Codec, FilmRanges, KernelShape, Ranges, Resampling, RoundRanges

# The length to which all kernels are padded.
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
    """One pass: blur, resize by `factor` (relative to the source in pass 1, to the result in pass 2), noise and JPEG (0: none)."""

    blur: Kernel
    factor: Annotated[float, Meta(gt=0, le=4)]
    resampling: Resampling
    noise: Noise
    jpeg: Annotated[int, Meta(ge=0, le=100)]


class FilmDraw(Struct, frozen=True, forbid_unknown_fields=True):
    """The damage of film and tape, drawn once for each shot; units as in `FilmRanges`. `codec` "" is none.

    `frames` is the seed of what is drawn for each frame, equal for all shots of a film; None for the shot's own.
    """

    grain: float = 0.0
    grain_size: float = 0.0
    dust: float = 0.0
    scratches: float = 0.0
    weave: float = 0.0
    flicker: float = 0.0
    chroma_bleed: float = 0.0
    comb_shift: float = 0.0
    codec: Codec | Literal[""] = ""
    quantiser: Annotated[int, Meta(ge=0, le=31)] = 0
    hairs: float = 0.0
    offset: float = 0.0
    scratch_contrast: tuple[float, float] = (51.0, 178.5)
    frames: Annotated[int, Meta(ge=0, lt=SEEDS)] | None = None


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
    film: FilmDraw | None = None


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
        resampling=_pick(rng, ranges.first.resamplings),
        sinc=sinc if sharp else PULSE,
        sinc_first=bool(rng.random() < 0.5),
        film=_film(rng, ranges.film) if ranges.film != FilmRanges() else None,
    )


def _round(rng: np.random.Generator, ranges: RoundRanges) -> Round:
    blur = _blur(rng, ranges)
    if rng.random() >= ranges.blur_probability:
        blur = PULSE
    up, down, _ = ranges.resize_probability
    direction = rng.random()
    if direction < up:
        factor = _between(rng, (max(1.0, ranges.resize[0]), ranges.resize[1]))
    elif direction < up + down:
        factor = _between(rng, (ranges.resize[0], min(1.0, ranges.resize[1])))
    else:
        factor = 1.0
    resampling = _pick(rng, ranges.resamplings)
    gaussian = rng.random() < ranges.gaussian_probability
    noise = Noise(
        kind="gaussian" if gaussian else "poisson",
        amount=_between(rng, ranges.gaussian_noise if gaussian else ranges.poisson_noise),
        grey=bool(rng.random() < ranges.grey_probability),
    )
    jpeg = int(rng.integers(ranges.jpeg[0], ranges.jpeg[1] + 1))
    # The order of draws is that from before this range was added, so that old seeds give the same draws.
    if ranges.jpeg_probability < 1 and rng.random() >= ranges.jpeg_probability:
        jpeg = 0
    return Round(blur=blur, factor=factor, resampling=resampling, noise=noise, jpeg=jpeg)


def _blur(rng: np.random.Generator, ranges: RoundRanges) -> Kernel:
    size = _pick(rng, ranges.kernel_sizes)
    if rng.random() < ranges.sinc_probability:
        # Small kernels are too short for the long ripples of a low cutoff.
        lowest = math.pi / 3 if size < 13 else math.pi / 5
        return Kernel(shape="sinc", size=size, cutoff=_between(rng, (lowest, math.pi)))
    shares = np.array(list(ranges.shapes.values()))
    shape = list(ranges.shapes)[int(rng.choice(len(shares), p=shares / shares.sum()))]
    if shape == "pulse":
        return PULSE
    sigma_x = _between(rng, ranges.blur_sigma)
    isotropic = shape in ("iso", "generalized_iso", "plateau_iso")
    sigma_y = sigma_x if isotropic else _between(rng, ranges.blur_sigma_y or ranges.blur_sigma)
    theta = 0.0 if isotropic else _between(rng, ranges.angle)
    beta = 1.0
    if shape.startswith(("generalized", "plateau")):
        least, most = ranges.generalized_beta if shape.startswith("generalized") else ranges.plateau_beta
        # The paper draws below and above 1 (the normal distribution) with equal probability.
        beta = _between(rng, (least, 1.0) if rng.random() < 0.5 else (1.0, most))
    return Kernel(shape=shape, size=size, sigma_x=sigma_x, sigma_y=sigma_y, theta=theta, beta=beta)


def _film(rng: np.random.Generator, ranges: FilmRanges) -> FilmDraw:
    return FilmDraw(
        grain=_between(rng, ranges.grain),
        grain_size=_between(rng, ranges.grain_size),
        dust=_between(rng, ranges.dust),
        scratches=_between(rng, ranges.scratches),
        weave=_between(rng, ranges.weave),
        flicker=_between(rng, ranges.flicker),
        chroma_bleed=_between(rng, ranges.chroma_bleed),
        comb_shift=_between(rng, ranges.comb_shift) if rng.random() < ranges.comb else 0.0,
        codec=_pick(rng, ranges.codecs) if ranges.codecs else "",
        quantiser=int(rng.integers(ranges.quantiser[0], ranges.quantiser[1] + 1)),
        # Later ranges are drawn last, so that old seeds give the same draws.
        hairs=_between(rng, ranges.hairs),
        offset=_between(rng, ranges.offset),
        scratch_contrast=ranges.scratch_contrast,
    )


def _between(rng: np.random.Generator, pair: tuple[float, float]) -> float:
    return float(rng.uniform(*pair))


def _pick(rng: np.random.Generator, values: tuple[T, ...]) -> T:
    return values[int(rng.integers(len(values)))]
