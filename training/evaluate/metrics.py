"""The usual quality metrics, as basicsr computes them, of H x W x 3 RGB uint8 images."""

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
"""Side in pixels of the blocks that NIQE analyses."""
ALEXNET = "alexnet-owt-7be5be79.pth"
"""torchvision's file of the network whose features LPIPS compares."""


def psnr(result: Pixels, clean: Pixels, border: int) -> float:
    """Return the PSNR of luma in dB, without `border` pixels at each edge; infinite for equal images."""
    measure = compat.load("basicsr.metrics.psnr_ssim").calculate_psnr
    return float(measure(result[:, :, ::-1], clean[:, :, ::-1], crop_border=border, test_y_channel=True))


def ssim(result: Pixels, clean: Pixels, border: int) -> float:
    """Return the structural similarity of luma, at most 1, without `border` pixels at each edge."""
    measure = compat.load("basicsr.metrics.psnr_ssim").calculate_ssim
    return float(measure(result[:, :, ::-1], clean[:, :, ::-1], crop_border=border, test_y_channel=True))


def niqe(result: Pixels, border: int) -> float:
    """Return NIQE, naturalness without a reference (Mittal et al., 2013), lower is better; NaN below two blocks a side."""
    if min(result.shape[:2]) - 2 * border < 2 * BLOCK:
        return math.nan
    measure = compat.load("basicsr.metrics.niqe").calculate_niqe
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        # Blocks of one flat colour have no distribution to fit; the implementation omits them from the mean itself.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(measure(result[:, :, ::-1].astype(np.float32), crop_border=border))


def lpips() -> tuple[Callable[[Pixels, Pixels], float] | None, str]:
    """Return the learned perceptual distance (Zhang et al., 2018; AlexNet, lower is better), or None and the missing requirement.

    Nothing is downloaded: the package `lpips` contains its own small weights, and torchvision's AlexNet must be in
    torch's cache already.
    """
    backbone = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
    try:
        package = importlib.import_module("lpips")
    except ImportError:
        return None, f"LPIPS is omitted: it needs `pip install lpips` and torchvision's {ALEXNET} as {backbone}."
    if not backbone.exists():
        return None, f"LPIPS is omitted: torchvision's {ALEXNET} is missing; copy it to {backbone} and run again."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package builds torchvision's model in a deprecated way
        network = package.LPIPS(net="alex", verbose=False).eval()

    def measure(result: Pixels, clean: Pixels) -> float:
        pair = (
            torch.from_numpy(np.ascontiguousarray(p)).permute(2, 0, 1)[None].float() / 127.5 - 1
            for p in (result, clean)
        )
        with torch.inference_mode():
            return float(network(*pair))

    return measure, ""
