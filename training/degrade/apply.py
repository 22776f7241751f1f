"""Degradation of pixels by a draw. The arithmetic is basicsr's; only the draws and their record are Respool's."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from contract.errors import BadInput, UsageError
from training.degrade import film_damage
from training.degrade.draw import PAD_TO, SEEDS, Draw, Kernel, Noise
from workers.generators import compat

basicsr = compat.load("basicsr.data.degradations")

# A blur reflects half a kernel beyond each edge, so both sides must be longer than that.
SMALLEST = PAD_TO // 2 + 1

Pixels = npt.NDArray[np.uint8]
Image = npt.NDArray[np.float32]
"""height x width x 3 RGB in [0, 1]."""


def output_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Return (height, width) of the degraded copy of an image of this size; raise BadInput if it is too small to blur."""
    if not 1 <= scale <= 16:
        raise UsageError(f"scale is {scale}; give a factor from 1 to 16 by which the copy is smaller.")
    size = round(height / scale), round(width / scale)
    if min(size) < SMALLEST:
        raise BadInput(
            f"an image of {width}x{height} degraded at scale {scale:g} is {size[1]}x{size[0]}, "
            f"but at least {SMALLEST} pixels a side are needed; choose a smaller scale."
        )
    return size


def degrade(pixels: Pixels, drawn: Draw, scale: float, frame: int = 0) -> Pixels:
    """Degrade one image.

    `pixels` and the result are height x width x 3 RGB or height x width grey, uint8; the result is `scale` times smaller.
    `frame` varies the noise (not its strength) from frame to frame of a shot. Equal arguments give equal results
    on one machine. Raises BadInput for an image that is too small, UsageError for a scale outside 1..16.
    """
    grey = pixels.ndim == 2
    if grey:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    height, width = pixels.shape[:2]
    size = output_size(height, width, scale)
    image: Image = pixels.astype(np.float32) / 255.0
    # basicsr draws noise from torch's global generator, which is seeded for this image and restored afterwards.
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed((drawn.seed + frame) % SEEDS)
        for n, turn in enumerate(drawn.rounds):
            base = (height, width) if n == 0 else size
            image = _blur(image, turn.blur)
            image = _resize(image, tuple(max(SMALLEST, round(side * turn.factor)) for side in base), turn.resampling)
            image = _noise(image, turn.noise, grey)
            if n < len(drawn.rounds) - 1:
                image = _jpeg(image, turn.jpeg)
        quality = drawn.rounds[-1].jpeg
        if not drawn.sinc_first:
            image = _jpeg(image, quality)
        image = _blur(_resize(image, size, drawn.resampling), drawn.sinc)
        # Damage of film is drawn in pixels of the copy, so nothing that moves or blurs them comes after it.
        image = _aged(image, film_damage.Aged(drawn.film, drawn.seed, frame) if drawn.film else None)
        if drawn.sinc_first:
            image = _jpeg(image, quality)
    result = (image.clip(0, 1) * 255).round().astype(np.uint8)
    if grey:
        # The channels are still equal after the JPEG, apart from rounding.
        return np.asarray(result.astype(np.float32).mean(axis=2).round(), dtype=np.uint8)
    return np.ascontiguousarray(result)


def kernel_values(kernel: Kernel) -> npt.NDArray[np.float64]:
    """Return the blur as a `size` x `size` array that sums to one."""
    # A Gaussian of zero width cannot be inverted; one of a twentieth of a pixel is a single tap.
    size, args = kernel.size, (max(kernel.sigma_x, 0.05), max(kernel.sigma_y, 0.05), kernel.theta)
    isotropic = "aniso" not in kernel.shape
    values: npt.NDArray[Any]
    if kernel.shape == "pulse":
        values = np.zeros((size, size))
        values[size // 2, size // 2] = 1.0
    elif kernel.shape == "sinc":
        # The centre is 0/0 and overwritten afterwards, so the warning can be ignored.
        with np.errstate(divide="ignore", invalid="ignore"):
            values = basicsr.circular_lowpass_kernel(kernel.cutoff, size)
    elif kernel.shape.startswith("generalized"):
        values = basicsr.bivariate_generalized_Gaussian(size, *args, kernel.beta, isotropic=isotropic)
    elif kernel.shape.startswith("plateau"):
        values = basicsr.bivariate_plateau(size, *args, kernel.beta, isotropic=isotropic)
    else:
        values = basicsr.bivariate_Gaussian(size, *args, isotropic=isotropic)
    return np.asarray(values, dtype=np.float64)


def _blur(image: Image, kernel: Kernel) -> Image:
    return np.asarray(cv2.filter2D(image, -1, kernel_values(kernel), borderType=cv2.BORDER_REFLECT_101), np.float32)


def _resize(image: Image, size: tuple[int, ...], resampling: str) -> Image:
    # torch's resize, not OpenCV's: the paper's "area" is the mean of the covered pixels for enlarging too.
    corners = None if resampling == "area" else False
    tensor = functional.interpolate(_tensor(image), size=size, mode=resampling, align_corners=corners)
    return _image(tensor.clamp(0, 1))


def _noise(image: Image, noise: Noise, grey: bool) -> Image:
    add = basicsr.add_gaussian_noise_pt if noise.kind == "gaussian" else basicsr.add_poisson_noise_pt
    return _image(add(_tensor(image).clamp(0, 1), noise.amount, gray_noise=int(noise.grey or grey), clip=True))


def _aged(image: Image, aged: film_damage.Aged | None) -> Image:
    return image if aged is None else _image(aged(_tensor(image)[0])[None])


def _jpeg(image: Image, quality: int) -> Image:
    if quality == 0:
        return image
    # basicsr.add_jpg_compression passes floats to OpenCV, which rounds them with a warning each time. OpenCV takes BGR,
    # and JPEG codes the channels differently, so the order matters.
    pixels = (image.clip(0, 1) * 255).round().astype(np.uint8)[:, :, ::-1]
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise BadInput(
            f"an image of {pixels.shape[1]}x{pixels.shape[0]} cannot be stored as JPEG; use one of at most 65,500 pixels a side."
        )
    back = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert back is not None  # OpenCV has just written it
    return np.asarray(back[:, :, ::-1], dtype=np.float32) / 255.0


def _tensor(image: Image) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]


def _image(tensor: torch.Tensor) -> Image:
    return np.asarray(tensor[0].permute(1, 2, 0).contiguous().numpy(), dtype=np.float32)
