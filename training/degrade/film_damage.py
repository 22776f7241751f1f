"""Damage of film and tape on one image: grain, dust, hairs, scratches, flicker, weave, chroma bleed, interlacing remains, codecs.

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
from training.degrade.frame_draw import draw_frame, marks

_BLEED_TAPS = 33


@dataclass(frozen=True)
class Aged:
    """The film damage `drawn` of one shot, at frame `frame`.

    Strengths belong to the shot, positions and noise to the frame; scratches keep their column for the whole shot. `frame_draw.draw_frame`
    draws all but the grain.
    """

    drawn: FilmDraw
    seed: int
    frame: int

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Damage a 3 x H x W image in [0, 1] that has the size of the copy; the result has the same shape."""
        d, size = self.drawn, (image.shape[1], image.shape[2])
        one = draw_frame(d, self.seed, self.frame, size)
        if d.weave > 0:
            image = shifted(image, *one.shift).clamp(0, 1)
        if d.flicker > 0 or d.offset > 0:
            image = (image * one.gain + one.offset / 255).clamp(0, 1)
        if d.grain > 0:
            image = self._grain(image).clamp(0, 1)
        if one.specks or one.scratches:
            keep, add = (torch.from_numpy(part).to(image) for part in marks(one, size))
            image = (image * keep + add / 255).clamp(0, 1)
        if d.chroma_bleed > 0:
            image = self._bleed(image).clamp(0, 1)
        if d.comb_shift > 0:
            image = self._comb(image).clamp(0, 1)
        return recode(image[None], d.codec, d.quantiser)[0] if d.codec else image

    def _grain(self, image: torch.Tensor) -> torch.Tensor:
        seed = self.seed if self.drawn.frames is None else self.drawn.frames
        # Odd multiples of the frame's number keep the streams of one film apart.
        generator = torch.Generator().manual_seed((seed + (self.frame + 1) * 0x9E3779B97F4A7C15) % SEEDS)
        noise = torch.randn(1, *image.shape[1:], generator=generator).to(image)
        if self.drawn.grain_size > 0:
            noise = _smoothed(noise, self.drawn.grain_size)
            noise = noise / noise.std().clamp_min(1e-6)
        # Grain is densest in the middle tones: parabola of density, 1 at mid grey (Stephenson and Saunders, 2007).
        luma = image.mean(0, keepdim=True)
        return image + noise * (self.drawn.grain / 255) * (0.25 + 3 * luma * (1 - luma))

    def _bleed(self, image: torch.Tensor) -> torch.Tensor:
        luma = (image * image.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True)
        taps = torch.arange(_BLEED_TAPS, device=image.device, dtype=image.dtype)
        kernel = torch.exp(-taps / self.drawn.chroma_bleed)  # colour lags behind brightness along a line of tape
        kernel = (kernel / kernel.sum()).flip(0)[None, None, None]
        chroma = functional.pad((image - luma)[:, None], (_BLEED_TAPS - 1, 0, 0, 0), mode="replicate")
        return luma + functional.conv2d(chroma, kernel)[:, 0]

    def _comb(self, image: torch.Tensor) -> torch.Tensor:
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
