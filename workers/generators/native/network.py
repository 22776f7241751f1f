"""Runs a program of convolutions on all cores."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from workers.generators.native.code import FIELDS, PAD, Shape, Writer
from workers.generators.native.machine import Layer, Machine, vectors
from workers.generators.native.program import Array, Convolution, Program, Slice
from workers.generators.native.winograd import OUTPUT, weights

_BLOCK = 24
"""Tiles worked on at once: with 64 channels their inputs and products take 900 KB, near the second-level cache's size."""
_SLACK = 32
"""Tiles of room after the last: matrix products take several rows at once, whether they are there or not."""
_STRIP = 32
"""Rows of the body's size in one strip of the tail; each adds 2 * reach rows that are worked on twice."""
_CACHE_LINE = 64


@dataclass(frozen=True)
class _Step:
    """A convolution with its weights transformed and its function found."""

    source: Convolution
    shape: Shape
    layer: Layer
    weights: Array
    bias: Array
    slopes: Array
    factors: Array
    inputs: int


@dataclass(frozen=True)
class _View:
    """`height` x `width` pixels of `channels` each, in memory that has a border of zeros around them (see `_Room.view`)."""

    memory: Array
    height: int
    width: int

    @property
    def row(self) -> int:
        return self.memory.strides[0] // 4

    @property
    def pixel(self) -> int:
        return self.memory.strides[1] // 4

    @property
    def pixels(self) -> Array:
        return self.memory[1 : self.height + 1, 1 : self.width + 1]

    def rows(self, first: int, last: int) -> _View:
        """The rows `first` .. `last` - 1, with their neighbours in the border's place."""
        return _View(self.memory[first:], last - first, self.width)

    def border(self, first: int, channels: int) -> None:
        """Make the border zero: whole tiles write over it at the bottom and on the right."""
        part = self.memory[..., first : first + channels]
        part[0] = 0
        part[:, 0] = 0
        part[self.height + 1 :] = 0
        part[:, self.width + 1 :] = 0


class _Room:
    """Memory by name that grows and is used again."""

    def __init__(self) -> None:
        self._held: dict[str, Array] = {}

    def flat(self, name: str, size: int) -> Array:
        """`size` floats on a cache line."""
        held = self._held.get(name)
        if held is None or held.size < size:
            self._held.pop(name, None)
            raw = np.zeros(size + _CACHE_LINE // 4, np.float32)
            start = -raw.ctypes.data % _CACHE_LINE // 4
            held = self._held[name] = raw[start : start + size]
        return held[:size]

    def view(self, name: str, height: int, width: int, channels: int) -> _View:
        """A picture with one pixel of border, and more at the bottom and on the right up to whole tiles."""
        rows, columns = (-(-n // OUTPUT) * OUTPUT + 2 for n in (height, width))
        return _View(self.flat(name, rows * columns * channels).reshape(rows, columns, channels), height, width)

    def clear(self) -> None:
        self._held.clear()


class NativeNetwork:
    """A program of convolutions in fp32. Not thread-safe: it uses all cores by itself."""

    backend = "native"
    precision = "fp32"
    device = torch.device("cpu")

    def __init__(self, program: Program, threads: int, cache: Path) -> None:
        """Compile for this processor (machine code is kept below `cache`); `threads` 0 means all cores."""
        found = vectors()
        assert found is not None, "the registry offers this backend only where vectors() finds some"
        self._width = found[0]
        self._writer = Writer(*found)
        self._program = program
        self._room = _Room()
        self._threads = threads or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(max(1, self._threads - 1), "native")
        every = [*program.body, *program.tail]
        shapes = {s.name: s for s in map(self._shape, every)}
        for shape in shapes.values():
            self._writer.layer(shape)
        self._machine = Machine(str(self._writer.module), list(shapes), cache)
        self._body = [self._step(c) for c in program.body]
        self._tail = [self._step(c) for c in program.tail]

    # Preparation

    def _whole(self, channels: int) -> int:
        return -(-channels // self._width) * self._width

    def _shape(self, convolution: Convolution) -> Shape:
        left = self._whole(convolution.output.channels) // self._width
        most = 4 if self._width == 16 or self._writer.registers > 16 else 2
        parts = -(-left // most)
        chunks = tuple(left // parts + (i < left % parts) for i in range(parts))
        return Shape(chunks, convolution.slopes is not None, len(convolution.residuals), convolution.double)

    def _step(self, convolution: Convolution) -> _Step:
        shape = self._shape(convolution)
        outputs = sum(shape.chunks) * self._width
        inputs = sum(self._whole(s.channels) for s in convolution.inputs)
        weight = convolution.weight
        if len(convolution.inputs) == 1:
            transformed = weights(weight, shape.products, inputs, outputs)
        else:
            first = convolution.inputs[0].channels
            parts = (weight[:, :first], weight[:, first:])
            sizes = [self._whole(s.channels) for s in convolution.inputs]
            transformed = np.concatenate(
                [weights(w, shape.products, n, outputs) for w, n in zip(parts, sizes, strict=True)], 1
            )

        def padded(values: Array) -> Array:
            return _aligned(np.pad(values.astype(np.float32), (0, outputs - len(values))))

        slopes = np.zeros(outputs, np.float32) if convolution.slopes is None else convolution.slopes
        return _Step(
            convolution,
            shape,
            self._machine.functions[shape.name],
            _aligned(transformed),
            padded(convolution.bias),
            padded(slopes),
            np.array([f for _, f in convolution.residuals] or [0.0], np.float32),
            inputs,
        )

    # Work

    @torch.no_grad()
    def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
        try:
            return torch.cat([self._frame(rgb[n : n + 1]) for n in range(rgb.shape[0])])
        except MemoryError:
            self._room.clear()
            raise

    def _frame(self, rgb: torch.Tensor) -> torch.Tensor:
        program = self._program
        shown = torch.nn.functional.pixel_unshuffle(rgb, program.unshuffle) if program.unshuffle > 1 else rgb
        height, width = shown.shape[-2:]
        views = {n: self._room.view(n, height, width, self._whole(c)) for n, c in self._body_buffers().items()}
        entry = views["in"]
        entry.memory[..., shown.shape[1] :] = 0
        entry.border(0, entry.memory.shape[2])
        torch.from_numpy(entry.pixels)[..., : shown.shape[1]].copy_(shown[0].permute(1, 2, 0))
        for step in self._body:
            self._run(step, views)
        result = torch.empty((1, 3, rgb.shape[-2] * program.scale, rgb.shape[-1] * program.scale))
        if not self._tail:
            self._finish(views["out"].pixels, rgb, result)
            return result
        for first in range(0, height, _STRIP):
            self._strip(views, first, min(first + _STRIP, height), height, result)
        return result

    def _body_buffers(self) -> dict[str, int]:
        own = {c.output.buffer for c in self._program.tail}
        return {n: c for n, c in self._program.channels.items() if n not in own}

    def _strip(self, body: dict[str, _View], first: int, last: int, height: int, result: torch.Tensor) -> None:
        """Run the tail on rows `first` .. `last` - 1 and put what it gives into `result`."""
        reach = self._program.reach
        low, high = max(0, first - reach), min(height, last + reach)
        views = {name: view.rows(low, high) for name, view in body.items()}
        for step in self._tail:
            source = views[step.source.inputs[0].buffer]
            size = 2 if step.source.double else 1
            name = step.source.output.buffer
            channels = self._whole(self._program.channels[name])
            views[name] = self._room.view(name, source.height * size, source.width * size, channels)
            self._run(step, views)
        grown = views["out"].height // (high - low)
        made = torch.from_numpy(views["out"].pixels[(first - low) * grown : (last - low) * grown, :, :3])
        result[0, :, first * grown : last * grown].copy_(made.permute(2, 0, 1))

    def _finish(self, made: Array, rgb: torch.Tensor, result: torch.Tensor) -> None:
        """Pixel-shuffle `made` into `result`, and add the frame."""
        s = self._program.shuffle
        height, width = made.shape[:2]
        parts = torch.from_numpy(made)[..., : 3 * s * s].reshape(height, width, 3, s, s).permute(2, 0, 3, 1, 4)
        target = result[0].view(3, height, s, width, s)
        if self._program.base:
            torch.add(parts, rgb[0][:, :, None, :, None], out=target)
        else:
            target.copy_(parts)

    def _run(self, step: _Step, views: dict[str, _View]) -> None:
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
        rooms = [
            (
                self._room.flat(f"inputs {n}", planes * (_BLOCK * step.inputs + PAD) + _SLACK * step.inputs),
                self._room.flat(f"products {n}", planes * (_BLOCK * outputs + PAD) + _SLACK * outputs),
            )
            for n in range(self._threads)
        ]
        mine, *others = [(fields.ctypes.data, v.ctypes.data, m.ctypes.data) for v, m in rooms]
        helpers = [self._pool.submit(step.layer, *other) for other in others]
        step.layer(*mine)
        for helper in helpers:
            # No row is left: a helper that the system has not let begin by now would only be waited for.
            if not helper.cancel():
                helper.result()
        out.border(source.output.first, self._whole(source.output.channels))


def _place(name: str, view: _View, part: Slice, border: int) -> dict[str, int]:
    """Address and strides of a slice's first pixel (`border` 1) or of the border before it (0)."""
    address = view.memory[border:, border:, part.first :].ctypes.data
    return {name: address, f"{name}_pixel": view.pixel, f"{name}_row": view.row}


def _aligned(values: Array) -> Array:
    raw = np.empty(values.size + _CACHE_LINE // 4, np.float32)
    start = -raw.ctypes.data % _CACHE_LINE // 4
    made = raw[start : start + values.size].reshape(values.shape)
    made[...] = values
    return made
