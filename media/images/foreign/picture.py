"""A picture in a foreign format, as its module describes it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from media.images.metadata import Metadata


@dataclass(frozen=True)
class Foreign:
    """Header, metadata and, when asked for, samples.

    `depth` is bits a sample; samples of 9 to 16 bits are scaled to the whole of uint16. `samples` is H x W x C, upright as stored, alpha last and straight.
    `orientation` is EXIF's where the decoder did not apply it.
    """

    width: int
    height: int
    mode: Literal["grey", "rgb", "cmyk"]
    alpha: bool
    depth: int
    lossless: bool
    palette: bool = False
    orientation: int = 1
    signal: tuple[int, int] | None = None
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()
    samples: npt.NDArray[Any] | None = None


BROKEN_TAGS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, struct.error, TypeError, ValueError,
)  # fmt: skip
"""Errors of tifffile for contradictory tags, which it does not check. TiffFileError is a ValueError or an Exception by version."""


def widened(samples: npt.NDArray[Any], bits: int) -> npt.NDArray[Any]:
    """Return samples of `bits` (1 to 16) bits scaled to the whole of uint8 or uint16, H x W x C."""
    if samples.ndim == 2:
        samples = samples[..., None]
    top, white = (1 << bits) - 1, 255 if bits <= 8 else 65535
    if top == white:
        return samples.astype(np.uint8 if white == 255 else np.uint16, copy=False)
    exact = (samples.astype(np.uint32) * white + top // 2) // top
    return exact.astype(np.uint8 if white == 255 else np.uint16)
