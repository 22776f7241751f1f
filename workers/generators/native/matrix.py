"""Operands, arguments and kinds of layers for processors with a matrix unit for bf16 (AMX).

One operand of the matrix unit is 16 pixels by 32 channels in the order in which they lie in memory, so nothing is rearranged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

PIXELS = 16
"""Rows of one operand: pixels."""
INPUTS = 32
"""Values of bf16 in one row of an operand: input channels."""
OUTPUTS = 16
"""Columns of a product: output channels."""
TILE = 1024
"""Bytes of an operand or a product: 16 rows of 64."""
BLOCK = 64
"""Pixels that one iteration of a layer may read past the last of a row, at most."""
SCRATCH = 64 + 4 * TILE
"""Bytes of a thread's scratch memory: the unit's configuration, then four products."""
SPREAD = 4
"""Factor by which a layer that spreads enlarges an image."""

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

`counter` and `finished` point to the numbers of rows begun and ended. `x` and `y` are the two parts that hold the input channels;
`offsets` has the start of each of `steps` products of 32 channels. Buffers are planes of 32 channels, so that the pixels of an
operand lie one after the other; each of `pairs` is 32 output channels. `r` and `q` are added to the result, times the number that
`factor` points to. For a layer that spreads (see `Shape`), `out` is three planes of fp32, `plane` is the stride of two of them, and
`line` that of a row; `r` is fp32 too and has no factor.
"""

Way = Literal["half", "wide", "spread"]


@dataclass(frozen=True)
class Shape:
    """The properties that a layer is specialised for.

    `single` means a last group of 16 channels; `residuals` is how many of r and q are added; `way` is how results are written:
    ``half`` is bf16 in planes, ``wide`` is fp32 in one plane, and ``spread`` is three images of four times the size, in which 16
    channels become 4 x 4 pixels and the frame r is added.
    """

    single: bool
    activation: bool
    residuals: int
    way: Way

    @property
    def name(self) -> str:
        """The name of the layer's function in the compiled module."""
        return f"matrix_{int(self.single)}{int(self.activation)}{self.residuals}_{self.way}"


def configure_unit(scratch: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Write the unit's configuration to the head of `scratch`: eight registers of 16 rows of 64 bytes each.

    The layout is that of LDTILECFG in Intel's Software Developer's Manual: palette, 16-bit row lengths from byte 16, rows from byte 48.
    """
    scratch[0] = 1
    scratch[16:32].view(np.uint16)[:] = 4 * OUTPUTS
    scratch[48:56] = PIXELS
    return scratch
