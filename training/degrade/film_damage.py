"""Damage of film and tape on one image: grain, dust, scratches, flicker, weave, chroma bleed, interlacing remains, codecs.

It is written in torch, so that copies on disk and patches on a training device get the same damage. Random numbers
come from generators on the CPU, so that every device draws the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from training.degrade.codec import recode
from training.degrade.draw import SEEDS, FilmDraw

_SPECK = (0.6, 2.5)
"""Least and largest radius of a speck of dust, in pixels of the degraded image."""
_BLEED_TAPS = 33


@dataclass(frozen=True)
class Aged:
    """The film damage `drawn` of one shot, at frame `frame`, for images of `size` (height, width).

    Strengths belong to the shot, positions and noise to the frame; scratches keep their column for the whole shot.
    """

    drawn: FilmDraw
    seed: int
    frame: int
    size: tuple[int, int]

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Damage a 3 x H x W image in [0, 1]; the result has the same shape."""
        d, frame = self.drawn, self._generator(self.frame + 1)
        for amount, step in (
            (d.weave, self._weave),
            (d.flicker, self._flicker),
            (d.grain, self._grain),
            (d.dust, self._dust),
            (d.scratches, self._scratches),
            (d.chroma_bleed, self._bleed),
            (d.comb_shift, self._comb),
        ):
            if amount > 0:
                image = step(image, frame).clamp(0, 1)
        return recode(image[None], d.codec, d.quantiser)[0] if d.codec else image

    def _generator(self, salt: int) -> torch.Generator:
        # Odd multiples of the salt keep the streams of one shot apart.
        return torch.Generator().manual_seed((self.seed + salt * 0x9E3779B97F4A7C15) % SEEDS)

    def _weave(self, image: torch.Tensor, frame: torch.Generator) -> torch.Tensor:
        right, down = (torch.randn(2, generator=frame) * self.drawn.weave).tolist()
        return shifted(image, right, down)

    def _flicker(self, image: torch.Tensor, frame: torch.Generator) -> torch.Tensor:
        return image * (1 + self.drawn.flicker * float(torch.randn(1, generator=frame)))

    def _grain(self, image: torch.Tensor, frame: torch.Generator) -> torch.Tensor:
        noise = torch.randn(1, *image.shape[1:], generator=frame).to(image)
        if self.drawn.grain_size > 0:
            noise = _smoothed(noise, self.drawn.grain_size)
            noise = noise / noise.std().clamp_min(1e-6)
        # Grain is densest in the middle tones: parabola of density, 1 at mid grey (Stephenson and Saunders, 2007).
        luma = image.mean(0, keepdim=True)
        return image + noise * (self.drawn.grain / 255) * (0.25 + 3 * luma * (1 - luma))

    def _dust(self, image: torch.Tensor, frame: torch.Generator) -> torch.Tensor:
        height, width = image.shape[1:]
        expected = torch.tensor(self.drawn.dust * height * width / 1e6)
        for _ in range(int(torch.poisson(expected, generator=frame))):
            y, x, size, tone = torch.rand(4, generator=frame).tolist()
            radius = _SPECK[0] + size * (_SPECK[1] - _SPECK[0])
            covered = _disc(image, y * height, x * width, radius)
            image = image * (1 - covered) + covered * (0.95 if tone < 0.7 else 0.05)  # dust on a negative prints white
        return image

    def _scratches(self, image: torch.Tensor, frame: torch.Generator) -> torch.Tensor:
        shot = self._generator(0)
        width = image.shape[2]
        for _ in range(int(torch.poisson(torch.tensor(self.drawn.scratches), generator=shot))):
            x, strength = torch.rand(2, generator=shot).tolist()
            wander = float(torch.randn(1, generator=frame)) * 0.3
            columns = torch.arange(width, device=image.device, dtype=image.dtype)
            line = torch.exp(-((columns - x * width - wander) ** 2) / 0.5)
            image = image + line * (0.2 + 0.5 * strength) * (1 if strength < 0.7 else -1)
        return image

    def _bleed(self, image: torch.Tensor, frame: torch.Generator) -> torch.Tensor:
        del frame
        luma = (image * image.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True)
        taps = torch.arange(_BLEED_TAPS, device=image.device, dtype=image.dtype)
        kernel = torch.exp(-taps / self.drawn.chroma_bleed)  # colour lags behind brightness along a line of tape
        kernel = (kernel / kernel.sum()).flip(0)[None, None, None]
        chroma = functional.pad((image - luma)[:, None], (_BLEED_TAPS - 1, 0, 0, 0), mode="replicate")
        return luma + functional.conv2d(chroma, kernel)[:, 0]

    def _comb(self, image: torch.Tensor, frame: torch.Generator) -> torch.Tensor:
        del frame
        moved = shifted(image, self.drawn.comb_shift, 0.0)
        odd = (torch.arange(image.shape[1], device=image.device) % 2 == 1)[None, :, None]
        return torch.where(odd, moved, image)


def shifted(image: torch.Tensor, right: float, down: float) -> torch.Tensor:
    """Return a 3 x H x W image shifted by whole or fractional pixels; edges repeat."""
    height, width = image.shape[1:]
    y = torch.arange(height, device=image.device, dtype=image.dtype) - down
    x = torch.arange(width, device=image.device, dtype=image.dtype) - right
    grid_y, grid_x = torch.meshgrid((y + 0.5) / height * 2 - 1, (x + 0.5) / width * 2 - 1, indexing="ij")
    grid = torch.stack((grid_x, grid_y), -1)[None]
    return functional.grid_sample(image[None], grid, mode="bicubic", padding_mode="border", align_corners=False)[0]


def _smoothed(noise: torch.Tensor, sigma: float) -> torch.Tensor:
    radius = max(1, math.ceil(3 * sigma))
    taps = torch.arange(-radius, radius + 1, device=noise.device, dtype=noise.dtype)
    kernel = torch.exp(-(taps**2) / (2 * sigma * sigma))
    kernel = kernel / kernel.sum()
    # Circular padding keeps the variance the same up to the edges.
    wide = functional.pad(noise[None], (radius, radius, radius, radius), mode="circular")
    wide = functional.conv2d(wide, kernel[None, None, None])
    return functional.conv2d(wide, kernel[None, None, :, None])[0]


def _disc(image: torch.Tensor, y: float, x: float, radius: float) -> torch.Tensor:
    rows = torch.arange(image.shape[1], device=image.device, dtype=image.dtype)[:, None]
    columns = torch.arange(image.shape[2], device=image.device, dtype=image.dtype)[None]
    return (radius + 0.5 - ((rows - y) ** 2 + (columns - x) ** 2).sqrt()).clamp(0, 1)[None]
