"""Layers in bf16 for processors with a matrix unit: one call runs all of them, and buffers take half the bytes of fp32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from workers.generators.native.matrix import (
    BLOCK,
    FIELDS,
    INPUTS,
    OUTPUTS,
    SCRATCH,
    SPREAD,
    Shape,
    Way,
    configure_unit,
)
from workers.generators.native.matrix_code import MatrixWriter
from workers.generators.native.memory import (
    CACHE_LINE,
    BufferPool,
    Memory,
    ThreadTeam,
    View,
    aligned_copy,
    aligned_zeros,
)
from workers.generators.native.program import Array, Convolution, Program, Slice
from workers.llvm.machine import Machine

_KEPT = 64
"""Lists of calls kept, each for one set of buffers: a film has one frame size and few strip sizes."""

Tap = tuple[int, int]
"""Row and column, 0 to 2, of a weight's pixel; 1, 1 is the output pixel's own position."""


@dataclass(frozen=True)
class _Phase:
    """A set of output pixels of a convolution that share taps and weights.

    It is all pixels or, for a convolution that doubles, those whose row and column modulo 2 equal `corner`.
    """

    taps: tuple[Tap, ...]
    weights: Memory
    corner: Tap


@dataclass(frozen=True)
class _Step:
    """A convolution with its rearranged weights and the number of its function."""

    source: Convolution
    shape: int
    phases: tuple[_Phase, ...]
    pairs: int
    bias: Memory
    slopes: Memory
    factors: Array


@dataclass(frozen=True)
class _Calls:
    """Arguments of `run`: numbers of layers and addresses of their fields, whose counters must be 0 at the start."""

    calls: Memory
    fields: Memory
    counters: Memory
    offsets: list[Memory]


class MatrixLayers:
    """The convolutions of a program in bf16. Sums and results are fp32; the input keeps fp32's accuracy in three parts."""

    precision = "bf16"

    def __init__(self, program: Program, team: ThreadTeam, buffers: BufferPool, cache: Path) -> None:
        self._channels = program.channels
        self._team, self._buffers = team, buffers
        self.spreads = program.shuffle == SPREAD and program.base and not program.tail
        every = [*program.body, *program.tail]
        shapes = list(dict.fromkeys(map(self._shape, every)))
        writer = MatrixWriter()
        for shape in shapes:
            writer.layer(shape)
        writer.run(shapes)
        self._machine = Machine(str(writer.module), ["run"], cache)
        self._steps = {c: _step(c, shapes.index(self._shape(c))) for c in every}
        self._scratch = [configure_unit(aligned_zeros(SCRATCH, np.uint8)) for _ in range(team.size)]
        self._prepared: dict[tuple[object, ...], _Calls] = {}

    def _shape(self, convolution: Convolution) -> Shape:
        groups = _up(convolution.output.channels, OUTPUTS) // OUTPUTS
        way: Way = "half"
        if convolution.output.buffer == "out":
            way = "spread" if self.spreads else "wide"
        return Shape(groups % 2 == 1, convolution.slopes is not None, len(convolution.residuals), way)

    def view(self, name: str, height: int, width: int) -> View:
        """Return the buffer `name` with a border of zeros, which stays because layers write only pixels."""
        channels = self._channels[name]
        if name == "out":
            view = self._buffers.view(name, height, width, _up(channels, OUTPUTS))
        else:
            planes = _up(3 * channels if name == "in" else channels, INPUTS) // INPUTS
            view = self._buffers.view(name, height, width, INPUTS, np.uint16, planes, BLOCK + 2)
            view.border(0, INPUTS)
        return view

    def load_input(self, view: View, frame: torch.Tensor) -> None:
        """Put `frame`, C x H x W, into the buffer ``in``: rounded to bf16, the rounding's remainder, and rounded again (see `_three`)."""
        target = torch.from_numpy(view.pixels).view(torch.bfloat16)
        near = frame.bfloat16()
        three = torch.cat([near, (frame - near.float()).bfloat16(), near])
        for n, plane in enumerate(target):
            part = three[n * INPUTS : (n + 1) * INPUTS]
            plane[..., : len(part)].copy_(part.permute(1, 2, 0))
            if len(target) > 1:  # a single plane's other channels stay zero, as nothing writes to them
                plane[..., len(part) :] = 0

    def run(
        self, convolutions: tuple[Convolution, ...], views: dict[str, View], checkpoint: Callable[[], None]
    ) -> None:
        """Run `convolutions` in order, after one `checkpoint`: all of them are one call of machine code."""
        checkpoint()
        names = {s.buffer for c in convolutions for s in (*c.inputs, c.output, *(r for r, _ in c.residuals))}
        names |= {"frame"} if self.spreads else set()
        key = (convolutions, *(views[name].identity for name in sorted(names)))
        prepared = self._prepared.get(key)
        if prepared is None:
            if len(self._prepared) >= _KEPT:
                self._prepared.clear()
            prepared = self._prepared[key] = self._prepare([self._steps[c] for c in convolutions], views)
        prepared.counters[:] = 0
        calls = prepared.calls
        self._team.run(
            self._machine.functions["run"],
            [(calls.ctypes.data, len(calls), scratch.ctypes.data) for scratch in self._scratch],
        )

    def _prepare(self, steps: Sequence[_Step], views: dict[str, View]) -> _Calls:
        work = [(step, phase) for step in steps for phase in step.phases]
        counters = aligned_zeros(2 * len(work) * CACHE_LINE // 8, np.int64).reshape(len(work), 2, -1)
        fields = aligned_zeros(len(work) * len(FIELDS), np.int64).reshape(len(work), -1)
        calls = np.array([(step.shape, fields[n].ctypes.data) for n, (step, _) in enumerate(work)], np.int64)
        offsets: list[Memory] = []
        for n, (step, phase) in enumerate(work):
            values = dict.fromkeys(FIELDS, 0) | _fields(step, phase, views, offsets)
            if self.spreads and step.source.output.buffer == "out":
                values |= _spread(views["out"], views["frame"])
            values |= {"counter": counters[n, 0].ctypes.data, "finished": counters[n, 1].ctypes.data}
            fields[n] = [values[name] for name in FIELDS]
        return _Calls(calls, fields, counters, offsets)


def _up(channels: int, whole: int) -> int:
    return -(-channels // whole) * whole


def _step(convolution: Convolution, shape: int) -> _Step:
    outputs = _up(convolution.output.channels, OUTPUTS)
    parts = [_three(w) if s.buffer == "in" else w for s, w in zip(convolution.inputs, convolution.parts(), strict=True)]
    corners: list[Tap] = [(i, j) for i in (0, 1) for j in (0, 1)] if convolution.double else [(0, 0)]
    phases = []
    for corner in corners:
        folded = [_folded(w, corner) if convolution.double else _plain(w) for w in parts]
        taps = tuple(folded[0])
        phases.append(_Phase(taps, _packed([np.stack([f[t] for t in taps]) for f in folded], outputs), corner))

    def padded(values: Array) -> Memory:
        return aligned_copy(np.pad(values.astype(np.float32), (0, outputs - len(values))))

    slopes = np.zeros(outputs, np.float32) if convolution.slopes is None else convolution.slopes
    factors = np.array([f for _, f in convolution.residuals] or [0.0], np.float32)
    pairs = outputs // OUTPUTS // 2
    return _Step(convolution, shape, tuple(phases), pairs, padded(convolution.bias), padded(slopes), factors)


def _three(weight: Array) -> Array:
    """Return the weights for an input that is stored as x = near + rest, see `MatrixLayers.load_input`.

    (near, rest, near) times (w, w, w minus its rounding to bf16) is right to 16 bits. It costs nothing, as the few channels of the
    input do not fill an operand.
    """
    near = torch.from_numpy(weight).bfloat16().float().numpy()
    return np.concatenate([near, near, weight - near], 1)


def _plain(weight: Array) -> dict[Tap, Array]:
    return {(i, j): weight[:, :, i, j] for i in range(3) for j in range(3)}


def _folded(weight: Array, corner: Tap) -> dict[Tap, Array]:
    """Add up the weights of a doubled image that fall on the same pixel of the smaller one: 4 products a pixel, not 9."""
    folded: dict[Tap, Array] = {}
    for i in range(3):
        for j in range(3):
            tap = 1 + (corner[0] + i - 1) // 2, 1 + (corner[1] + j - 1) // 2
            folded[tap] = folded.get(tap, np.float32(0)) + weight[:, :, i, j]
    return folded


def _packed(parts: Sequence[Array], outputs: int) -> Memory:
    """Arrange weights, taps x O x I of each part, in the order in which the matrix unit reads them.

    For each 32 (the last may be 16) outputs, part, tap and 32 inputs there is one operand for each 16 outputs. Each of its rows has
    two inputs' weights for every output.
    """
    steps = []
    for weight in parts:
        taps, o, i = weight.shape
        padded = np.pad(weight, ((0, 0), (0, outputs - o), (0, -i % INPUTS)))
        split = padded.reshape(taps, outputs // OUTPUTS, OUTPUTS, -1, INPUTS // 2, 2)
        steps.append(split.transpose(1, 0, 3, 4, 2, 5).reshape(outputs // OUTPUTS, -1, INPUTS // 2, OUTPUTS, 2))
    every = np.concatenate(steps, 1)  # 16 outputs, step, rows, columns, two
    groups = [every[n : n + 2].swapaxes(0, 1).reshape(-1) for n in range(0, len(every), 2)]
    flat = torch.from_numpy(np.concatenate(groups)).bfloat16()
    return aligned_copy(flat.view(torch.int16).numpy())


def _fields(step: _Step, phase: _Phase, views: dict[str, View], offsets: list[Memory]) -> dict[str, int]:
    """Return the fields of one call, except its counters; the arrays of offsets they point to are kept alive in `offsets`."""
    source = step.source
    out = views[source.output.buffer]
    size = 2 if source.double else 1
    values = _place("out", out, source.output, (1 + phase.corner[0], 1 + phase.corner[1]))
    values |= {f"out_{step}": values[f"out_{step}"] * size for step in ("row", "pixel")}
    values |= {"rows": out.height // size, "columns": out.width // size, "pairs": step.pairs}
    values |= {"weights": phase.weights.ctypes.data, "bias": step.bias.ctypes.data, "slopes": step.slopes.ctypes.data}
    for name, part in zip("xy", source.inputs, strict=False):
        values |= _place(name, views[part.buffer], part, (0, 0))
        plane, row, pixel = (values[f"{name}_{step}"] for step in ("plane", "row", "pixel"))
        planes = _up(3 * part.channels if part.buffer == "in" else part.channels, INPUTS) // INPUTS
        jumps = [i * row + j * pixel + c * plane for i, j in phase.taps for c in range(planes)]
        offsets.append(np.array(jumps, np.int64))
        values |= {f"{name}_steps": len(jumps), f"{name}_offsets": offsets[-1].ctypes.data}
    for i, (name, (part, _)) in enumerate(zip("rq", source.residuals, strict=False)):
        values |= _place(name, views[part.buffer], part, (1, 1))
        values[f"{name}_factor"] = step.factors[i:].ctypes.data
    return values


def _spread(out: View, frame: View) -> dict[str, int]:
    """Return the fields of the fp32 views without borders that a layer that spreads writes (`out`) and adds (`frame`)."""
    plane, line, pixel, _ = out.memory.strides
    values = {"out": out.memory.ctypes.data, "out_plane": 2 * plane, "out_line": line}
    values |= {"out_row": SPREAD * line, "out_pixel": SPREAD * pixel, "rows": frame.height, "columns": frame.width}
    plane, line, pixel, _ = frame.memory.strides
    return values | {"r": frame.memory.ctypes.data, "r_plane": 2 * plane, "r_row": line, "r_pixel": pixel}


def _place(name: str, view: View, part: Slice, corner: Tap) -> dict[str, int]:
    """Return the address and strides, in bytes, of a slice from row and column `corner` of its memory."""
    there = view.memory[part.first // INPUTS :, corner[0] :, corner[1] :]
    # The result is fp32 in one plane: the next 32 channels of a pixel follow the first.
    plane = there.strides[0] if view.memory.dtype == np.uint16 else INPUTS * 4
    steps = {"plane": plane, "row": there.strides[1], "pixel": there.strides[2]}
    return {name: there.ctypes.data, **{f"{name}_{step}": size for step, size in steps.items()}}
