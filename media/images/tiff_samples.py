"""What a TIFF directory says its samples mean, and the meanings that libvips reads as another without a word.

TIFF 6.0 (Adobe, 1992) sections 4 to 6, 16 (inks), 18 (extra samples), 19 (sample formats), 21 (YCbCr), 23 (CIELab).
"""

from __future__ import annotations

from typing import Literal

from contract.errors import Unsupported
from media.images.tiff import Directory

BITS, COMPRESSION, PHOTOMETRIC, INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT = 258, 259, 262, 332, 338, 339
PALETTE = 3
_ZERO_IS_WHITE, _INKS, _YCBCR = 0, 5, 6
_FOREIGN = {4: "a transparency mask", 8: "CIELab", 9: "ICCLab", 10: "ITULab", 32844: "LogL", 32845: "LogLuv"}
_BITS = (1, 2, 4, 8, 16, 32)
_JPEG = (6, 7)
"""Compressions whose decoder turns YCbCr into RGB itself."""
_FLOAT = 3

Extra = Literal["alpha", "premultiplied", "unspecified"]
"""The meaning of a band beyond the colours: transparency, transparency that the colours were multiplied with, not told."""


def check(page: Directory, name: str) -> None:
    """Raise Unsupported, naming `name`, for samples that would be shown as something that they are not."""
    kind = page.number(PHOTOMETRIC, 1)
    bits, floating = page.number(BITS, 1), page.number(SAMPLE_FORMAT, 1) == _FLOAT
    if kind in _FOREIGN:
        raise Unsupported(f"{name} holds {_FOREIGN[kind]}, which Respool does not restore; convert it to RGB first.")
    if bits not in _BITS:
        raise Unsupported(f"{name} has {bits}-bit samples; convert it to 8 or 16 bits, or to float of 32.")
    if kind == _YCBCR and page.number(COMPRESSION, 1) not in _JPEG:
        raise Unsupported(f"{name} stores YCbCr without JPEG, which Respool does not read; convert it to RGB first.")
    if kind == _INKS and page.number(INK_SET, 1) != 1:
        raise Unsupported(f"{name} is for other inks than cyan, magenta, yellow and black; convert it to RGB first.")
    if kind == _ZERO_IS_WHITE and floating:
        raise Unsupported(f"{name} is of floats that begin with white; convert it so that 0 is black first.")
    if floating and kind == 1 and extra_meaning(page) == "premultiplied":
        raise Unsupported(f"{name} is grey of floats multiplied with alpha; convert it to straight alpha first.")


def extra_meaning(page: Directory) -> Extra:
    """What the directory says of the band beyond its colours; `unspecified` where it says nothing."""
    found = page.tags.get(EXTRA_SAMPLES)
    values = found.numbers() if found else ()
    return {1: "premultiplied", 2: "alpha"}.get(values[0] if values else 0, "unspecified")  # type: ignore[return-value]  # literals
