"""Layers by Winograd's algorithm, in fp32 or with products in bf16: layers that share an input are one call of machine code.

Every thread has its own buffers for transformed inputs and products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from workers.generators.native.memory import BufferPool, Memory, ThreadTeam, View, aligned_copy
from workers.generators.native.program import Array, Convolution, Program, Slice
from workers.generators.native.row_order import in_order, needed
from workers.generators.native.winograd import OUTPUT
from workers.generators.native.winograd_code import Shape
from workers.generators.native.winograd_run import FIELDS, PAD, PLAN, Writer
from workers.llvm.machine import Machine, vectors

_BLOCK = 24
"""Tiles processed at once: with 64 channels their inputs and products take 900 KB, near the second-level cache's size."""
_SLACK = 32
"""Tiles of memory after the last: matrix products read several rows at once, also past the last."""
_WORK = 150e9
"""Operations of a run of more than one layer, counted as direct convolutions, at most: a job can be stopped only between two runs.
A layer of 64 channels takes as many at 1920x1080, and a dense block at 640x480."""
_KEPT = 512
"""Runs kept prepared, each for one set of buffers, some 15 KB: a frame of 1920x1080 takes 390 of them with x4plus."""


@dataclass(frozen=True)
class _Step:
    """A convolution with its transformed weights and its compiled function."""

    source: Convolution
    shape: Shape
    weights: Array
    bias: Array
    slopes: Array
    factors: Array
    inputs: int


@dataclass(frozen=True)
class _Run:
    """A few layers, prepared: the arguments of `run`, and the arrays that they point to."""

    plan: Memory
    counter: Memory
    done: Memory
    held: tuple[Memory, ...]
    inputs: int
    products: int


class WinogradLayers:
    """The convolutions of a program, for processors with vectors of floats; in bf16 for those that multiply vectors of it.

    In bf16 the first layer stays in fp32, so that no value of the frame is rounded.
    """

    spreads = False

    def __init__(
        self, program: Program, team: ThreadTeam, buffers: BufferPool, cache: Path, precision: str = "fp32"
    ) -> None:
        found = vectors()
        assert found is not None, "the registry offers this backend only where vectors() finds some"
        self.precision = precision
        self._width = found[0]
        self._registers = found[1]
        self._channels = program.channels
        self._team, self._buffers = team, buffers
        every = [*program.body, *program.tail]
        self._shapes = list(dict.fromkeys(map(self._shape, every)))
        writer = Writer(*found)
        for shape in self._shapes:
            writer.layer(shape)
        writer.run(self._shapes)
        self._machine = Machine(str(writer.module), ["run"], cache)
        self._steps = {c: self._step(c) for c in every}
        self._prepared: dict[tuple[object, ...], _Run] = {}

    def view(self, name: str, height: int, width: int) -> View:
        """Return the buffer `name` with a border of zeros, which stays because layers clear what they write past the image."""
        channels = self._whole(self._channels[name])
        view = self._buffers.view(name, height, width, channels)
        view.border(0, channels)
        return view

    def load_input(self, view: View, frame: torch.Tensor) -> None:
        """Put `frame`, C x H x W, into the buffer ``in``."""
        view.memory[..., frame.shape[0] :] = 0
        torch.from_numpy(view.pixels[0])[..., : frame.shape[0]].copy_(frame.permute(1, 2, 0))

    def run(
        self, convolutions: tuple[Convolution, ...], views: dict[str, View], checkpoint: Callable[[], None]
    ) -> None:
        """Run `convolutions` in order, a few at a time, with a `checkpoint` before each few."""
        for few in few_layers(convolutions, views):
            checkpoint()
            names = {s.buffer for c in few for s in (*c.inputs, c.output, *(r for r, _ in c.residuals))}
            key = (few, *(views[name].identity for name in sorted(names)))
            run = self._prepared.get(key)
            if run is None:
                if len(self._prepared) >= _KEPT:
                    self._prepared.clear()
                run = self._prepared[key] = self._prepare([self._steps[c] for c in few], views)
            run.counter[:] = 0
            run.done[:] = 0
            scratch = [
                (self._buffers.flat(f"inputs {n}", run.inputs), self._buffers.flat(f"products {n}", run.products))
                for n in range(self._team.size)
            ]
            self._team.run(
                self._machine.functions["run"],
                [(run.plan.ctypes.data, v.ctypes.data, m.ctypes.data) for v, m in scratch],
            )

    # Preparation

    def _whole(self, channels: int) -> int:
        return -(-channels // self._width) * self._width

    def _shape(self, convolution: Convolution) -> Shape:
        left = self._whole(convolution.output.channels) // self._width
        most = 4 if self._width == 16 or self._registers > 16 else 2
        parts = -(-left // most)
        chunks = tuple(left // parts + (i < left % parts) for i in range(parts))
        half = self.precision == "bf16" and convolution.inputs[0].buffer != "in"
        return Shape(chunks, convolution.slopes is not None, len(convolution.residuals), convolution.double, half)

    def _step(self, convolution: Convolution) -> _Step:
        shape = self._shape(convolution)
        outputs = sum(shape.chunks) * self._width
        inputs = sum(self._whole(s.channels) for s in convolution.inputs)
        transformed = np.concatenate(
            [shape.transforms.weights(w, self._whole(w.shape[1]), outputs) for w in convolution.parts()], 1
        )

        def padded(values: Array) -> Memory:
            return aligned_copy(np.pad(values.astype(np.float32), (0, outputs - len(values))))

        slopes = np.zeros(outputs, np.float32) if convolution.slopes is None else convolution.slopes
        return _Step(
            convolution,
            shape,
            aligned_copy(_paired(transformed) if shape.half else transformed),
            padded(convolution.bias),
            padded(slopes),
            np.array([f for _, f in convolution.residuals] or [0.0], np.float32),
            inputs,
        )

    def _prepare(self, steps: list[_Step], views: dict[str, View]) -> _Run:
        rows = -(-views[steps[0].source.output.buffer].height // OUTPUT)
        fields = np.array([self._fields(s, views) for s in steps], np.int64)
        listed = []
        for layer, row in in_order(len(steps), rows, 2 + self._team.size // len(steps)):
            before = needed(row, rows) if layer else range(0)
            first = (layer - 1) * rows
            listed.append(
                (self._shapes.index(steps[layer].shape), fields[layer].ctypes.data, row, layer * rows + row,
                 first + before.start, first + before.stop)
            )  # fmt: skip
        counter, done = np.zeros(1, np.int64), np.zeros(len(listed), np.int64)
        order = np.array(listed, np.int64)
        arguments = {"counter": counter, "rows": order, "done": done}
        values = {name: array.ctypes.data for name, array in arguments.items()} | {"count": len(listed)}
        plan = np.array([values[name] for name in PLAN], np.int64)
        inputs = max(_scratch(s, s.inputs) for s in steps)
        products = max(_scratch(s, sum(s.shape.chunks) * self._width) for s in steps)
        return _Run(plan, counter, done, (order, fields), inputs, products)

    def _fields(self, step: _Step, views: dict[str, View]) -> list[int]:
        source = step.source
        out = views[source.output.buffer]
        values = dict.fromkeys(FIELDS, 0)
        values |= {
            "columns": -(-out.width // OUTPUT),
            "height": out.height,
            "width": out.width,
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
        return [values[name] for name in FIELDS]


def few_layers(convolutions: tuple[Convolution, ...], views: dict[str, View]) -> Iterator[tuple[Convolution, ...]]:
    """Split `convolutions` into runs: layers that follow each other and read one input, as in a dense block, unless they are long.

    The first of them brings that input into the cache for the others. Layers of a chain share nothing and are runs of their own:
    together they are faster while the whole cache is free, and slower while the host's other tenants use it (decision 0022).
    """
    few: list[Convolution] = []
    work = 0.0
    for convolution in convolutions:
        out = views[convolution.output.buffer]
        own = 2.0 * convolution.weight.size * out.height * out.width
        alike = bool(few) and (few[0].inputs[0], few[0].double) == (convolution.inputs[0], convolution.double)
        if few and (not alike or work + own > _WORK):
            yield tuple(few)
            few, work = [], 0.0
        few.append(convolution)
        work += own
    yield tuple(few)


def _scratch(step: _Step, channels: int) -> int:
    """Return the values of a thread's buffer for `channels` of a block's inputs or products."""
    return len(step.shape.transforms.rows) ** 2 * (_BLOCK * channels + PAD) + _SLACK * channels


def _paired(transformed: Array) -> Memory:
    """Round weights, products x inputs x outputs, to bf16: products x inputs/2 x outputs x 2, as the processor multiplies pairs."""
    products, inputs, outputs = transformed.shape
    halves = torch.from_numpy(transformed).bfloat16().view(products, inputs // 2, 2, outputs)
    paired: Memory = halves.transpose(2, 3).contiguous().view(torch.int16).numpy()
    return paired


def _place(name: str, view: View, part: Slice, border: int) -> dict[str, int]:
    """Return the address and strides of a slice's first pixel (`border` 1) or of the border before it (0)."""
    there = view.memory[0, border:, border:, part.first :]
    return {name: there.ctypes.data, f"{name}_pixel": there.strides[1] // 4, f"{name}_row": there.strides[0] // 4}
