"""A network as a list of 3x3 convolutions between buffers, built by the families and run by the native backend."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from workers.generators.native.winograd import OUTPUT
from workers.generators.network import Architecture

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Slice:
    """Channels `first` .. `first + channels - 1` of a buffer."""

    buffer: str
    first: int
    channels: int


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution: output = activation(weight * inputs + bias) + the sum of residuals, each times its factor.

    `weight` is O x I x 3 x 3, I the channels of all `inputs` (one or two) together. `slopes` (one for each channel) are those of a
    leaky activation; None is no activation. `double` repeats every pixel of the input first, for an output of twice the size.
    """

    inputs: tuple[Slice, ...]
    output: Slice
    weight: Array
    bias: Array
    slopes: Array | None = None
    residuals: tuple[tuple[Slice, float], ...] = ()
    double: bool = False

    def parts(self) -> list[Array]:
        """Split the weights into those of each input."""
        return np.split(self.weight, np.cumsum([s.channels for s in self.inputs])[:-1], 1)


@dataclass(frozen=True)
class Program:
    """A network that enlarges by `scale`.

    The frame, pixel-unshuffled by `unshuffle`, is in the buffer ``in``. The result is in ``out`` and is pixel-shuffled by `shuffle`;
    if `base`, the frame with every pixel repeated is added to it. `body` works at the size of ``in``; `tail` follows, at sizes up to
    `scale` times that, in strips of rows, each with `reach` rows (at the body's size) more on either side than it owns.
    """

    scale: int
    channels: dict[str, int]
    body: tuple[Convolution, ...]
    tail: tuple[Convolution, ...] = ()
    reach: int = 0
    unshuffle: int = 1
    shuffle: int = 1
    base: bool = False


def fills_vectors(program: Program, width: int) -> bool:
    """Return whether all buffers between input and output fill whole vectors of `width` floats."""
    between = {n: c for n, c in program.channels.items() if n not in ("in", "out")}
    parts = [s for c in (*program.body, *program.tail) for s in (*c.inputs, c.output) if s.buffer in between]
    return all(s.channels % width == 0 and s.first % width == 0 for s in parts)


def adapted_architecture(architecture: Architecture, program: Program, direct: bool) -> Architecture:
    """Return the architecture with this backend's halo and memory, for direct convolutions in bf16 or Winograd's in fp32.

    Each Winograd tile of 4 x 4 pixels is computed from the same 6 x 6, so rounding errors, though invisible, spread by 4 pixels with
    every convolution and not by 1: an exact halo is four times as wide. Memory is that of the body and the result.
    """
    own = {c.output.buffer for c in program.tail}
    held = {n: -(-c // 16) * 16 for n, c in program.channels.items() if n not in own}
    if direct:  # bf16 takes half the bytes; the input is stored as three parts (see bf16._three)
        held = {n: c if n == "out" else c // 2 for n, c in held.items()} | {"in": 3 * held["in"] // 2}
    memory = sum(held.values()) // program.unshuffle**2 + 2 * 3 * program.scale**2
    halo = architecture.halo if direct or not architecture.exact else OUTPUT * len(program.body)
    return replace(architecture, halo=halo, memory=memory)
