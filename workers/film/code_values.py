"""Code values of black, white and neutral chroma, and the luma weights of matrices: ITU-R BT.601-7, BT.709-6 and BT.2020-2."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contract.film import Colour

KR_KB = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
GREY = KR_KB["bt601"]
"""Luma weights for grey, those of upstream's (OpenCV's) grey conversion."""


def kr_kb(colour: Colour) -> tuple[float, float]:
    """Return the luma weights of red and blue; for grey and RGB those of grey."""
    return KR_KB.get(colour.matrix, GREY)


def luma_levels(bits: int, full: bool) -> tuple[float, float]:
    """Return the code value of black, and the span from black to white."""
    return (0.0, float((1 << bits) - 1)) if full else (float(16 << (bits - 8)), float(219 << (bits - 8)))


def chroma_levels(bits: int, full: bool) -> tuple[float, float]:
    """Return the code value of neutral chroma, and the span of Cb and Cr, whose range is -1/2 to 1/2."""
    return float(1 << (bits - 1)), float((1 << bits) - 1 if full else 224 << (bits - 8))
