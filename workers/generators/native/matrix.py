"""What a layer is to a processor that multiplies matrices of bf16 (AMX): its operands, its arguments, its kinds.

Sixteen pixels by 32 channels are one operand of the matrix unit, as they lie in memory; so nothing is rearranged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

PIXELS = 16
"""Rows of one operand: pixels."""
INPUTS = 32
"""Values of bf16 in one row of it: input channels."""
OUTPUTS = 16
"""Columns of a product: output channels."""
TILE = 1024
"""Bytes of an operand or a product: 16 rows of 64."""
BLOCK = 64
"""Pixels that one turn of a layer may read past the last of a row, at most."""
SCRATCH = 64 + 4 * TILE
"""Bytes of a thread's own room: how the unit is set up, then four products."""
SPREAD = 4
"""Times a picture is enlarged by a layer that spreads."""

FIELDS = (
    "counter", "finished", "rows", "columns", "pairs",
    "x", "x_pixel", "x_row", "x_steps", "x_offsets",
    "y", "y_pixel", "y_row", "y_steps", "y_offsets",
    "weights", "bias", "slopes",
    "out", "out_pixel", "out_row", "out_plane", "out_line",
    "r", "r_pixel", "r_row", "r_plane", "r_factor",
    "q", "q_pixel", "q_row", "q_plane", "q_factor",
)  # fmt: skip
"""The 64-bit arguments of a layer: addresses, strides in bytes, and counts.

`counter` and `finished` point to rows begun and ended. `x` and `y` are the two parts that the input channels lie in; `offsets` has, for
each of `steps` products of 32 channels, where they begin. Buffers are planes of 32 channels, so that the pixels of an operand lie
one after the other; `pairs` are 32 output channels each. `r` and `q` are what is added to the result, times the number that `factor`
points to. Of a layer that spreads (see `Shape`), `out` is three planes of fp32, `plane` is two of them, and `line` a row; `r` is
fp32 too, and has no factor.
"""

Way = Literal["half", "wide", "spread"]


@dataclass(frozen=True)
class Shape:
    """What a layer is specialised for: a last group of 16 channels, activation, how many of r and q, and how results are written.

    ``half`` is bf16 in planes, ``wide`` is fp32 in one, and ``spread`` is three pictures of four times the size: 16 channels are 4 x 4
    pixels of one, and the frame r is added to all of them.
    """

    single: bool
    activation: bool
    residuals: int
    way: Way

    @property
    def name(self) -> str:
        return f"matrix_{int(self.single)}{int(self.activation)}{self.residuals}_{self.way}"


def setup(scratch: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Say at the head of a thread's room what the unit's eight registers are: 16 rows of 64 bytes each.

    The layout is that of LDTILECFG in Intel's Software Developer's Manual: palette, 16-bit row lengths from byte 16, rows from byte 48.
    """
    scratch[0] = 1
    scratch[16:32].view(np.uint16)[:] = 4 * OUTPUTS
    scratch[48:56] = PIXELS
    return scratch
