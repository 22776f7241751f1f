"""The measures of the field, as basicsr computes them, on H x W x 3 RGB uint8 pictures."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from workers.generators import compat

Pixels = npt.NDArray[np.uint8]
BLOCK = 96
"""NIQE looks at blocks of so many pixels."""
ALEXNET = "alexnet-owt-7be5be79.pth"
"""torchvision's file of the network that LPIPS compares features of."""


def psnr(result: Pixels, clean: Pixels, border: int) -> float:
    """Peak signal-to-noise ratio of luma in dB, without `border` pixels at each edge; infinite for equal pictures."""
    measure = compat.load("basicsr.metrics.psnr_ssim").calculate_psnr
    return float(measure(result[:, :, ::-1], clean[:, :, ::-1], crop_border=border, test_y_channel=True))


def ssim(result: Pixels, clean: Pixels, border: int) -> float:
    """Structural similarity of luma, at most 1, without `border` pixels at each edge."""
    measure = compat.load("basicsr.metrics.psnr_ssim").calculate_ssim
    return float(measure(result[:, :, ::-1], clean[:, :, ::-1], crop_border=border, test_y_channel=True))


def niqe(result: Pixels, border: int) -> float:
    """Naturalness without a reference (Mittal et al., 2013), lower is better; NaN for pictures under two blocks a side."""
    if min(result.shape[:2]) - 2 * border < 2 * BLOCK:
        return math.nan
    measure = compat.load("basicsr.metrics.niqe").calculate_niqe
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        # Blocks of one flat colour have no shape to fit; the implementation leaves them out of the mean itself.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(measure(result[:, :, ::-1].astype(np.float32), crop_border=border))


def lpips() -> tuple[Callable[[Pixels, Pixels], float] | None, str]:
    """The learned perceptual distance (Zhang et al., 2018; AlexNet, lower is better), or None and what is missing.

    Nothing is downloaded: the package `lpips` brings its own small weights, and torchvision's AlexNet must be in
    torch's cache already.
    """
    backbone = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
    try:
        package = importlib.import_module("lpips")
    except ImportError:
        return None, f"LPIPS is left out: it needs `pip install lpips` and torchvision's {ALEXNET} as {backbone}."
    if not backbone.exists():
        return None, f"LPIPS is left out: torchvision's {ALEXNET} is not there as {backbone}; bring it, and run again."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package builds torchvision's model in a way that torchvision deprecates
        network = package.LPIPS(net="alex", verbose=False).eval()

    def measure(result: Pixels, clean: Pixels) -> float:
        pair = (
            torch.from_numpy(np.ascontiguousarray(p)).permute(2, 0, 1)[None].float() / 127.5 - 1
            for p in (result, clean)
        )
        with torch.inference_mode():
            return float(network(*pair))

    return measure, ""
