"""Layers in fp32: each is a separate call; every thread has its own buffers for transformed inputs and products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from workers.generators.native.memory import BufferPool, Memory, ThreadTeam, View, aligned_copy
from workers.generators.native.program import Array, Convolution, Program, Slice
from workers.generators.native.winograd import OUTPUT, weights
from workers.generators.native.winograd_code import FIELDS, PAD, Shape, Writer
from workers.llvm.machine import Function, Machine, vectors

_BLOCK = 24
"""Tiles processed at once: with 64 channels their inputs and products take 900 KB, near the second-level cache's size."""
_SLACK = 32
"""Tiles of memory after the last: matrix products read several rows at once, also past the last."""


@dataclass(frozen=True)
class _Step:
    """A convolution with its transformed weights and its compiled function."""

    source: Convolution
    shape: Shape
    layer: Function
    weights: Array
    bias: Array
    slopes: Array
    factors: Array
    inputs: int


class WinogradLayers:
    """The convolutions of a program in fp32, for processors with vectors of floats."""

    precision = "fp32"
    spreads = False

    def __init__(self, program: Program, team: ThreadTeam, buffers: BufferPool, cache: Path) -> None:
        found = vectors()
        assert found is not None, "the registry offers this backend only where vectors() finds some"
        self._width = found[0]
        self._registers = found[1]
        self._channels = program.channels
        self._team, self._buffers = team, buffers
        every = [*program.body, *program.tail]
        shapes = {s.name: s for s in map(self._shape, every)}
        writer = Writer(*found)
        for shape in shapes.values():
            writer.layer(shape)
        self._machine = Machine(str(writer.module), list(shapes), cache)
        self._steps = {c: self._step(c) for c in every}

    def view(self, name: str, height: int, width: int) -> View:
        """Return the buffer `name`; its contents are undefined."""
        return self._buffers.view(name, height, width, self._whole(self._channels[name]))

    def load_input(self, view: View, frame: torch.Tensor) -> None:
        """Put `frame`, C x H x W, into the buffer ``in``."""
        view.memory[..., frame.shape[0] :] = 0
        view.border(0, view.memory.shape[-1])
        torch.from_numpy(view.pixels[0])[..., : frame.shape[0]].copy_(frame.permute(1, 2, 0))

    def run(
        self, convolutions: tuple[Convolution, ...], views: dict[str, View], checkpoint: Callable[[], None]
    ) -> None:
        """Run `convolutions` in order, with a `checkpoint` before each."""
        for convolution in convolutions:
            checkpoint()
            self._run(self._steps[convolution], views)

    # Preparation

    def _whole(self, channels: int) -> int:
        return -(-channels // self._width) * self._width

    def _shape(self, convolution: Convolution) -> Shape:
        left = self._whole(convolution.output.channels) // self._width
        most = 4 if self._width == 16 or self._registers > 16 else 2
        parts = -(-left // most)
        chunks = tuple(left // parts + (i < left % parts) for i in range(parts))
        return Shape(chunks, convolution.slopes is not None, len(convolution.residuals), convolution.double)

    def _step(self, convolution: Convolution) -> _Step:
        shape = self._shape(convolution)
        outputs = sum(shape.chunks) * self._width
        inputs = sum(self._whole(s.channels) for s in convolution.inputs)
        transformed = np.concatenate(
            [weights(w, shape.products, self._whole(w.shape[1]), outputs) for w in convolution.parts()],
            1,
        )

        def padded(values: Array) -> Memory:
            return aligned_copy(np.pad(values.astype(np.float32), (0, outputs - len(values))))

        slopes = np.zeros(outputs, np.float32) if convolution.slopes is None else convolution.slopes
        return _Step(
            convolution,
            shape,
            self._machine.functions[shape.name],
            aligned_copy(transformed),
            padded(convolution.bias),
            padded(slopes),
            np.array([f for _, f in convolution.residuals] or [0.0], np.float32),
            inputs,
        )

    # Work

    def _run(self, step: _Step, views: dict[str, View]) -> None:
        source = step.source
        out = views[source.output.buffer]
        counter = np.zeros(1, np.int64)
        values = dict.fromkeys(FIELDS, 0)
        values |= {
            "counter": counter.ctypes.data,
            "rows": -(-out.height // OUTPUT),
            "columns": -(-out.width // OUTPUT),
            "block": _BLOCK,
            "inputs": step.inputs,
            "weights": step.weights.ctypes.data,
            "bias": step.bias.ctypes.data,
            "slopes": step.slopes.ctypes.data,
            **_place("out", out, source.output, 1),
        }
        for name, part in zip("xy", source.inputs, strict=False):
            values |= _place(name, views[part.buffer], part, 0)
            values[f"{name}_groups"] = self._whole(part.channels) // self._width
        for i, (name, (part, _)) in enumerate(zip("rq", source.residuals, strict=False)):
            values |= _place(name, views[part.buffer], part, 1)
            values[f"{name}_factor"] = step.factors[i:].ctypes.data
        fields = np.array([values[name] for name in FIELDS], np.int64)
        outputs = sum(step.shape.chunks) * self._width
        planes = len(step.shape.products) ** 2
        scratch = [
            (
                self._buffers.flat(f"inputs {n}", planes * (_BLOCK * step.inputs + PAD) + _SLACK * step.inputs),
                self._buffers.flat(f"products {n}", planes * (_BLOCK * outputs + PAD) + _SLACK * outputs),
            )
            for n in range(self._team.size)
        ]
        self._team.run(step.layer, [(fields.ctypes.data, v.ctypes.data, m.ctypes.data) for v, m in scratch])
        out.border(source.output.first, self._whole(source.output.channels))  # whole tiles have overwritten it


def _place(name: str, view: View, part: Slice, border: int) -> dict[str, int]:
    """Return the address and strides of a slice's first pixel (`border` 1) or of the border before it (0)."""
    there = view.memory[0, border:, border:, part.first :]
    return {name: there.ctypes.data, f"{name}_pixel": there.strides[1] // 4, f"{name}_row": there.strides[0] // 4}
