"""The ranges of degradations, as in a damage file."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

KernelShape = Literal[
    "iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso", "sinc", "pulse"
]
Resampling = Literal["area", "bilinear", "bicubic"]
Codec = Literal["mpeg2video", "mpeg4", "libx264", "mjpeg"]
Share = Annotated[float, Meta(ge=0, le=1)]
Amount = Annotated[float, Meta(ge=0)]
Quality = Annotated[int, Meta(ge=1, le=100)]

KernelSize = Literal[7, 9, 11, 13, 15, 17, 19, 21]
# The side lengths in the paper.
KERNEL_SIZES: tuple[KernelSize, ...] = (7, 9, 11, 13, 15, 17, 19, 21)
# Shares of the kernel shapes in both passes of the paper.
SHAPES: dict[KernelShape, float] = {
    "iso": 0.45,
    "aniso": 0.25,
    "generalized_iso": 0.12,
    "generalized_aniso": 0.03,
    "plateau_iso": 0.12,
    "plateau_aniso": 0.03,
}
RESAMPLINGS: tuple[Resampling, ...] = ("area", "bilinear", "bicubic")


class RoundRanges(Struct, frozen=True, forbid_unknown_fields=True):
    """Ranges of one pass. Pairs are (least, most); `resize_probability` is of up, down and unchanged.

    `blur_sigma` is in pixels of the picture that the pass starts from, along `angle` (radians); `blur_sigma_y` across it, equal to
    `blur_sigma` where it is None. `gaussian_noise` is a sigma in code values of 255, `poisson_noise` a multiplier of shot
    noise. `jpeg_probability` below 1 leaves pictures without JPEG.
    """

    blur_probability: Share = 1.0
    resize_probability: tuple[Share, Share, Share] = (0.2, 0.7, 0.1)
    resize: tuple[Annotated[float, Meta(gt=0, le=4)], Annotated[float, Meta(gt=0, le=4)]] = (0.15, 1.5)
    blur_sigma: tuple[Amount, Amount] = (0.2, 3.0)
    gaussian_noise: tuple[Amount, Amount] = (1.0, 30.0)
    poisson_noise: tuple[Amount, Amount] = (0.05, 3.0)
    jpeg: tuple[Quality, Quality] = (30, 95)
    sinc_probability: Share = 0.1
    generalized_beta: tuple[Amount, Amount] = (0.5, 4.0)
    plateau_beta: tuple[Amount, Amount] = (1.0, 2.0)
    gaussian_probability: Share = 0.5
    grey_probability: Share = 0.4
    jpeg_probability: Share = 1.0
    blur_sigma_y: tuple[Amount, Amount] | None = None
    angle: tuple[float, float] = (-3.141592653589793, 3.141592653589793)
    shapes: dict[KernelShape, Share] = field(default_factory=lambda: dict(SHAPES))
    kernel_sizes: Annotated[tuple[KernelSize, ...], Meta(min_length=1)] = KERNEL_SIZES
    resamplings: Annotated[tuple[Resampling, ...], Meta(min_length=1)] = RESAMPLINGS


class FilmRanges(Struct, frozen=True, forbid_unknown_fields=True):
    """Ranges of the damage of film and tape, beyond the paper's; everything is off by default.

    Levels are in code values of 255, lengths in pixels of the degraded picture, `dust` in specks a megapixel, `scratches` in
    lines a frame, `flicker` a share of brightness. `grain_size` is the sigma of the Gaussian that shapes the grain's spectrum.
    `weave` applies only to films, as it would shift the images of a pair. `comb` is the share of shots with remains
    of interlacing, `comb_shift` the fields' distance. `hairs` are counted as specks are, `offset` is the standard deviation of a frame's
    level, and `scratch_contrast` that of the faintest and the strongest scratch.
    """

    grain: tuple[Amount, Amount] = (0.0, 0.0)
    grain_size: tuple[Amount, Amount] = (0.0, 0.0)
    dust: tuple[Amount, Amount] = (0.0, 0.0)
    scratches: tuple[Amount, Amount] = (0.0, 0.0)
    weave: tuple[Amount, Amount] = (0.0, 0.0)
    flicker: tuple[Share, Share] = (0.0, 0.0)
    chroma_bleed: tuple[Amount, Amount] = (0.0, 0.0)
    comb: Share = 0.0
    comb_shift: tuple[Amount, Amount] = (0.5, 2.0)
    codecs: tuple[Codec, ...] = ()
    quantiser: tuple[Annotated[int, Meta(ge=1, le=31)], Annotated[int, Meta(ge=1, le=31)]] = (2, 12)
    hairs: tuple[Amount, Amount] = (0.0, 0.0)
    offset: tuple[Amount, Amount] = (0.0, 0.0)
    scratch_contrast: tuple[Amount, Amount] = (51.0, 178.5)


class Ranges(Struct, frozen=True, forbid_unknown_fields=True):
    """The paper's ranges by default (options/train_realesrgan_x4plus.yml of the Real-ESRGAN release)."""

    first: RoundRanges = RoundRanges()
    second: RoundRanges = RoundRanges(
        blur_probability=0.8,
        resize_probability=(0.3, 0.4, 0.3),
        resize=(0.3, 1.2),
        blur_sigma=(0.2, 1.5),
        gaussian_noise=(1.0, 25.0),
        poisson_noise=(0.05, 2.5),
    )
    final_sinc_probability: Share = 0.8
    film: FilmRanges = FilmRanges()
