"""Results that no network should return: NaN, infinity, and black from a picture that is not black."""

from __future__ import annotations

import torch

_BLACK, _NOT_BLACK = 1 / 255, 8 / 255
"""A largest value below the first is black in eight bits; a mean above the second is visibly not black."""


def faults_of(rgb: torch.Tensor, result: torch.Tensor) -> list[str]:
    """Name the fault of each frame of `result`: NaN, infinity, or black from a frame that is not black; empty if it has none."""
    values = result.flatten(1)
    # Both keep NaN. torch.aminmax along a dimension takes fifteen times as long on a CPU, on one core.
    lows, highs = torch.amin(values, 1).tolist(), torch.amax(values, 1).tolist()
    dark = [n for n, high in enumerate(highs) if is_dark(high)]
    means = {n: float(rgb[n].mean()) for n in dark}
    return [_fault(low, high, means.get(n, 0.0)) for n, (low, high) in enumerate(zip(lows, highs, strict=True))]


def _fault(low: float, high: float, mean: float) -> str:
    if low != low or high != high:
        return "NaN"
    if low == float("-inf") or high == float("inf"):
        return "infinity"
    return "black" if is_dark(high) and mean > _NOT_BLACK else ""


def is_dark(largest: float) -> bool:
    """Return whether a picture with this largest value is black in eight bits."""
    return largest < _BLACK


def is_lit(rgb: torch.Tensor) -> bool:
    """Return whether a picture is visibly not black."""
    return float(rgb.mean()) > _NOT_BLACK
