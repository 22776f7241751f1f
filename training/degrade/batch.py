"""Degradation of patches in batches, on the device that trains.

It uses the same draws as `apply.degrade`, in torch: DiffJPEG replaces JPEG, and noise is drawn on the CPU from each draw's own seed, so
that neither the device nor the neighbours in a batch change a patch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import torch
from torch.nn import functional

from training.degrade import film_damage
from training.degrade.apply import SMALLEST, kernel_values
from training.degrade.draw import PAD_TO, SEEDS, Draw, Kernel, Noise
from workers.generators import compat


def shared(draws: Sequence[Draw]) -> list[Draw]:
    """Give all draws the resizes and the order of the first, so that they run as one batch; a pair pool mixes them again."""
    first = draws[0]
    return [
        msgspec.structs.replace(
            drawn,
            rounds=tuple(
                msgspec.structs.replace(turn, factor=model.factor, resampling=model.resampling)
                for turn, model in zip(drawn.rounds, first.rounds, strict=True)
            ),
            resampling=first.resampling,
            sinc_first=first.sinc_first,
        )
        for drawn in draws
    ]


def degrade_batch(clean: torch.Tensor, draws: Sequence[Draw], scale: int) -> torch.Tensor:
    """Degrade N x 3 x H x W patches in [0, 1], each by its own draw, to N x 3 x H/scale x W/scale in whole code values of 255.

    Patches with equal resizes are processed together. H and W are multiples of `scale`.
    """
    result = clean.new_empty(clean.shape[0], 3, clean.shape[2] // scale, clean.shape[3] // scale)
    groups: dict[tuple[Any, ...], list[int]] = {}
    for n, drawn in enumerate(draws):
        path = (*((turn.factor, turn.resampling) for turn in drawn.rounds), drawn.resampling, drawn.sinc_first)
        groups.setdefault(path, []).append(n)
    with torch.no_grad():
        for chosen in groups.values():
            done = _degrade(clean[chosen], [draws[n] for n in chosen], scale)
            result[chosen] = (done.clamp(0, 1) * 255).round() / 255
    return result


def _degrade(images: torch.Tensor, draws: list[Draw], scale: int) -> torch.Tensor:
    height, width = images.shape[2:]
    size = (height // scale, width // scale)
    noises = [torch.Generator().manual_seed(drawn.seed % SEEDS) for drawn in draws]
    for n in range(len(draws[0].rounds)):
        turns = [drawn.rounds[n] for drawn in draws]
        base = (height, width) if n == 0 else size
        images = _blur(images, [turn.blur for turn in turns])
        sides = [max(SMALLEST, round(side * turns[0].factor)) for side in base]
        images = _resize(images, sides, turns[0].resampling)
        images = _noise(images, [turn.noise for turn in turns], noises)
        if n < len(draws[0].rounds) - 1:
            images = _jpeg(images, [turn.jpeg for turn in turns])
    qualities, sinc_first = [drawn.rounds[-1].jpeg for drawn in draws], draws[0].sinc_first
    if not sinc_first:
        images = _jpeg(images, qualities)
    images = _blur(_resize(images, list(size), draws[0].resampling), [drawn.sinc for drawn in draws])
    images = _aged(images, draws)
    return _jpeg(images, qualities) if sinc_first else images


def _blur(images: torch.Tensor, kernels: list[Kernel]) -> torch.Tensor:
    if all(kernel.shape == "pulse" for kernel in kernels):
        return images
    values = torch.stack([_values(kernel) for kernel in kernels]).to(images)
    blurred: torch.Tensor = compat.load("basicsr.utils.img_process_util").filter2D(images, values)
    return blurred


@lru_cache(maxsize=256)
def _values(kernel: Kernel) -> torch.Tensor:
    values = torch.from_numpy(kernel_values(kernel)).float()
    around = (PAD_TO - values.shape[0]) // 2
    return functional.pad(values, (around, around, around, around))


def _resize(images: torch.Tensor, size: list[int], resampling: str) -> torch.Tensor:
    if list(images.shape[2:]) == size:
        return images
    corners = None if resampling == "area" else False
    return functional.interpolate(images, size=size, mode=resampling, align_corners=corners).clamp(0, 1)


def _noise(images: torch.Tensor, noises: list[Noise], generators: list[torch.Generator]) -> torch.Tensor:
    added: list[torch.Tensor] = []
    for image, noise, generator in zip(images.clamp(0, 1), noises, generators, strict=True):
        drawn = _gaussian(image, noise, generator) if noise.kind == "gaussian" else _poisson(image, noise, generator)
        added.append(image + drawn)
    return torch.stack(added).clamp(0, 1)


def _gaussian(image: torch.Tensor, noise: Noise, generator: torch.Generator) -> torch.Tensor:
    channels = 1 if noise.grey else 3
    return torch.randn(channels, *image.shape[1:], generator=generator).to(image) * (noise.amount / 255)


def _poisson(image: torch.Tensor, noise: Noise, generator: torch.Generator) -> torch.Tensor:
    """Return shot noise as in basicsr, with the number of levels in the image, rounded up to a power of two."""
    if noise.grey:
        image = (image * image.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True)
    levels = (image * 255).round().to("cpu", torch.uint8)
    photons = 2.0 ** max(1, (int(levels.flatten().bincount().count_nonzero()) - 1).bit_length())
    expected = levels.float() / 255
    caught = torch.poisson(expected * photons, generator=generator) / photons
    shot: torch.Tensor = (caught - expected).to(image) * noise.amount
    return shot


def _aged(images: torch.Tensor, draws: list[Draw]) -> torch.Tensor:
    if all(drawn.film is None for drawn in draws):
        return images
    # Weave would move a patch relative to its target, so it applies only to films.
    still = [drawn.film and msgspec.structs.replace(drawn.film, weave=0.0) for drawn in draws]
    return torch.stack(
        [
            film_damage.Aged(film, drawn.seed, 0)(image) if film else image
            for image, drawn, film in zip(images, draws, still, strict=True)
        ]
    )


def _jpeg(images: torch.Tensor, qualities: list[int]) -> torch.Tensor:
    coded = [n for n, quality in enumerate(qualities) if quality]
    if not coded:
        return images
    # The module changes the tensor of qualities in place, so it gets a new one.
    quality = images.new_tensor([float(qualities[n]) for n in coded])
    done = images.clone()
    done[coded] = _jpeger(images.device)(images[coded].clamp(0, 1), quality=quality)
    return done


@lru_cache(maxsize=4)
def _jpeger(device: torch.device) -> Callable[..., torch.Tensor]:
    module: torch.nn.Module = compat.load("basicsr.utils.diffjpeg").DiffJPEG(differentiable=False)
    return module.to(device).requires_grad_(False)
