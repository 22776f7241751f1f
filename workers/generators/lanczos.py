"""Lanczos resampling on the device: the resize after every network, and the classical baseline generator.

The kernel is sinc(x) sinc(x/4) on [-4, 4], that of OpenCV's INTER_LANCZOS4, which upstream resizes with; samples
beyond the edge repeat the edge pixel, as OpenCV's do. Unlike OpenCV's, the kernel is stretched by the ratio when
the image gets smaller, so that fine detail is averaged and does not alias into moire.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import torch

from workers.generators.network import Architecture, go_on

TAPS = 4
GRAIN = 64
"""Output samples computed by one small matrix product; near the number of taps, so that few factors are zero."""

Kernel = Literal["lanczos", "cubic"]


def _kernel(distance: torch.Tensor, kernel: Kernel) -> torch.Tensor:
    """Evaluate the kernel at `distance` samples; `cubic` is Keys's with a = -1/2, which Pillow calls bicubic."""
    if kernel == "lanczos":
        return torch.sinc(distance) * torch.sinc(distance / TAPS) * (distance.abs() < TAPS)
    x = distance.abs()
    return torch.where(
        x < 1, (1.5 * x - 2.5) * x * x + 1, torch.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, torch.zeros_like(x))
    )


@lru_cache(maxsize=64)
def _weights(source: int, target: int) -> tuple[tuple[int, int, int, torch.Tensor], ...]:
    """Return all blocks that resize `source` to `target` samples; see `_grain`."""
    return tuple(_grain(source, target, first, "lanczos") for first in range(0, target, GRAIN))


@lru_cache(maxsize=4096)
def _grain(source: int, target: int, first: int, kernel: Kernel) -> tuple[int, int, int, torch.Tensor]:
    """Return the block that computes the outputs from `first` on, at most GRAIN of them.

    It is (first output, first input, inputs, matrix); the matrix is outputs x inputs, float32, on the CPU.
    """
    step = source / target
    stretch = max(1.0, step)
    reach = TAPS * stretch
    outputs = torch.arange(first, min(first + GRAIN, target), dtype=torch.float64)
    centres = (outputs + 0.5) * step - 0.5
    low = math.floor(float(centres[0]) - reach)
    high = math.ceil(float(centres[-1]) + reach)
    taps = torch.arange(low, high + 1, dtype=torch.float64)
    distance = (taps[None, :] - centres[:, None]) / stretch
    values = _kernel(distance, kernel)
    values /= values.sum(1, keepdim=True)
    start, stop = max(low, 0), min(high, source - 1)
    matrix = torch.zeros(len(outputs), stop - start + 1, dtype=torch.float64)
    matrix.index_add_(1, taps.clamp(start, stop).long() - start, values)
    return first, start, stop - start + 1, matrix.float()


def resize(rgb: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize N x C x H x W float32 to N x C x size[0] x size[1] (height, width), on the tensor's device.

    Values may overshoot the input's range, as the kernel has negative lobes; the caller clamps.
    """
    height, width = rgb.shape[-2:]
    if height != size[0]:
        out = rgb.new_empty((*rgb.shape[:-2], size[0], width))
        for first, start, count, matrix in _weights(height, size[0]):
            part = rgb[..., start : start + count, :]
            out[..., first : first + len(matrix), :] = torch.matmul(matrix.to(rgb.device), part)
        rgb = out
    if width != size[1]:
        out = rgb.new_empty((*rgb.shape[:-1], size[1]))
        for first, start, count, matrix in _weights(width, size[1]):
            part = rgb[..., start : start + count]
            out[..., first : first + len(matrix)] = torch.matmul(part, matrix.to(rgb.device).T)
        rgb = out
    return rgb


def support(source: int, target: int, start: int, stop: int) -> tuple[int, int]:
    """Return the input samples [low, high) that outputs `start` .. `stop` - 1 depend on; `start` is a multiple of GRAIN."""
    parts = [_grain(source, target, first, "lanczos") for first in range(start, stop, GRAIN)]
    return parts[0][1], max(low + count for _, low, count, _ in parts)


def resize_window(
    rgb: torch.Tensor,
    origin: tuple[int, int],
    source: tuple[int, int],
    size: tuple[int, int],
    window: tuple[int, int, int, int],
    kernel: Kernel = "lanczos",
) -> torch.Tensor:
    """Compute a window of `resize` without the rest; equal to cropping the whole result.

    `rgb` (N x C x h x w) is the part of an image of `source` (height, width) whose first pixel is `origin` (top, left). Returns the
    pixels `window` (top, left, bottom, right; top and left multiples of GRAIN) of that image resized to `size`. `rgb` must hold
    the `support` of the window on both axes.
    """
    for axis in (0, 1):
        last = window[axis + 2]
        parts = []
        for block in range(window[axis], last, GRAIN):
            _, start, count, matrix = _grain(source[axis], size[axis], block, kernel)
            mine = matrix[: last - block].to(rgb.device)
            part = rgb.narrow(axis - 2, start - origin[axis], count)
            parts.append(torch.matmul(mine, part) if axis == 0 else torch.matmul(part, mine.T))
        rgb = torch.cat(parts, axis - 2)
    return rgb


def architecture(scale: int) -> Architecture:
    """Describe the baseline generator as a network of an integer scale."""
    return Architecture(
        "lanczos", scale, TAPS + 1, True, 1, 6 * scale * scale, 2 * 2 * TAPS * 3 * scale * (scale + 1), clips=False
    )


class Lanczos:
    """The baseline generator: enlarges by an integer `scale` on the same path as a network."""

    backend = "torch"
    precision = "fp32"

    def __init__(self, scale: int, device: torch.device) -> None:
        self.scale = scale
        self.device = device
        self.checkpoint = go_on

    def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
        """Resize `rgb` by `scale`."""
        return resize(rgb, (rgb.shape[-2] * self.scale, rgb.shape[-1] * self.scale))
