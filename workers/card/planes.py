"""A 3x3 convolution by Hopper's tensor cores, between buffers of planes: `plane_convolution.cu`'s memory, weights and launch."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from workers.card.convolution import Kind
from workers.card.cuda_code import Argument, compiled
from workers.card.launch import launching_on

DEEP = 16
"""Channels of one step; inputs with fewer are filled up with zeros."""
_WIDTH = 128
_THREADS = 384
_BARRIER_BYTES = 256
_SHARED_BYTES = 227 * 1024
"""Shared memory that one block of sm_90 can have (CUDA C++ Programming Guide, table of technical specifications)."""
_ADDRESSABLE = 2**31


@dataclass(frozen=True)
class Shape:
    """A division of a kernel's work; its fields are constants of `plane_convolution.cu`."""

    groups: int
    stages: int
    resident: bool
    turns: bool

    def __str__(self) -> str:
        parts = f"{self.groups} products", f"{self.stages} stages", "weights kept" * self.resident, "turns" * self.turns
        return ", ".join(filter(None, parts))


class Source(ctypes.Structure):
    """A buffer that is read; strides in units of 16 bytes."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("image", ctypes.c_int), ("chunk", ctypes.c_int), ("row", ctypes.c_int),
    )  # fmt: skip


class Target(ctypes.Structure):
    """A buffer that is written, or read as a residual; strides in half floats."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("image", ctypes.c_int), ("chunk", ctypes.c_int), ("row", ctypes.c_int), ("pixel", ctypes.c_int),
    )  # fmt: skip


class Rest(ctypes.Structure):
    """The work after the sums: buffers, the factors of the residuals, the result's size in pixels and in chunks of 8 channels."""

    _fields_ = (
        ("out", Target), ("near", Target), ("far", Target), ("near_factor", ctypes.c_float), ("far_factor", ctypes.c_float),
        ("height", ctypes.c_int), ("width", ctypes.c_int), ("chunks", ctypes.c_int),
    )  # fmt: skip


def filled_outputs(outputs: int) -> int:
    """Return the rows of a product that a layer's outputs take."""
    return 16 if outputs <= 16 else 32 if outputs <= 32 else 64


def steps(channels: int) -> int:
    """Return the steps of an input's channels."""
    return -(-channels // DEEP)


def shared_bytes(kind: Kind, shape: Shape) -> int:
    """Return the shared memory of a block."""
    outputs = filled_outputs(kind.outputs)
    stacked = 64 // outputs
    own = stacked * shape.groups
    rows = own if shape.resident else 2 * own
    weights = 3 * 2 * (2 * stacked + 1) * outputs * 16
    stage = 2 * (rows + 2) * (_WIDTH + 2) * 16 + (0 if shape.resident else weights)
    kept = sum(map(steps, kind.inputs)) * weights if shape.resident else 0
    rings = 2 if shape.resident else 1
    return _BARRIER_BYTES + kept + rings * shape.stages * (-(-stage // 128) * 128)


def shapes(kind: Kind) -> list[Shape]:
    """List the shapes that fit into a block's shared memory, each with as many stages as fit, up to six; none for over 64 outputs."""
    found: list[Shape] = []
    if kind.outputs > 64:
        return found
    # One product at a time loads too much for weights to be loaded with it.
    for (groups, resident), turns in itertools.product(((2, True), (2, False), (1, True)), (True, False)):
        fit = [s for n in range(2, 7) if shared_bytes(kind, s := Shape(groups, n, resident, turns)) <= _SHARED_BYTES]
        found += fit[-1:]
    return found


def packed(weight: torch.Tensor, inputs: Sequence[int]) -> torch.Tensor:
    """Return outputs x inputs x 3 x 3 weights as steps x columns of taps x 2 chunks x rows of taps x outputs x 8 channels, in half floats.

    Rows of taps are in reverse order, with zeros before and after them, so that the rows of the picture that share a product find theirs
    next to each other.
    """
    outputs = filled_outputs(weight.shape[0])
    stacked = 64 // outputs
    parts = []
    for part in torch.split(weight, list(inputs), 1):
        count = steps(part.shape[1])
        whole = weight.new_zeros((outputs, count * DEEP, 2 * stacked + 1, 3))
        whole[: part.shape[0], : part.shape[1], stacked - 1 : stacked + 2] = part.flip(2)
        parts.append(whole.view(outputs, count, 2, 8, 2 * stacked + 1, 3).permute(1, 5, 2, 4, 0, 3))
    return torch.cat(parts).half().contiguous()


def planes(like: torch.Tensor, count: int, height: int, width: int, channels: int) -> torch.Tensor:
    """Return an empty buffer of N x chunks x (H + 2) x (W + 2) x 8 half floats on `like`'s device.

    Raises MemoryError where an image has more values than the kernel's strides can say, so that a smaller tile of it is tried.
    """
    chunks = 2 * steps(channels)
    if chunks * 8 * (height + 2) * (width + 2) >= _ADDRESSABLE:
        raise MemoryError(
            f"{height}x{width} pixels of {channels} channels are too many for one buffer; use smaller tiles"
        )
    return torch.empty((count, chunks, height + 2, width + 2, 8), dtype=torch.float16, device=like.device)


def clear_border(buffer: torch.Tensor) -> None:
    """Fill the border of a buffer of planes with zeros."""
    buffer[:, :, 0] = 0
    buffer[:, :, -1] = 0
    buffer[:, :, :, 0] = 0
    buffer[:, :, :, -1] = 0


def chunked(pictures: torch.Tensor) -> torch.Tensor:
    """Return N x C x H x W `pictures` as a buffer of planes."""
    count, channels, height, width = pictures.shape
    buffer = planes(pictures, count, height, width, channels).zero_()
    for first in range(0, channels, 8):
        part = pictures[:, first : first + 8].permute(0, 2, 3, 1)
        buffer[:, first // 8, 1:-1, 1:-1, : part.shape[3]] = part
    return buffer


def unchunked(buffer: torch.Tensor, channels: int) -> torch.Tensor:
    """Return the first `channels` of a buffer of planes as N x C x H x W."""
    inner = buffer[:, :, 1:-1, 1:-1].permute(0, 1, 4, 2, 3)
    return inner.flatten(1, 2)[:, :channels]


def doubled(buffer: torch.Tensor) -> torch.Tensor:
    """Return planes of twice the height and width with every pixel repeated; their border is empty, not cleared."""
    count, chunks, height, width = buffer.shape[0], buffer.shape[1], buffer.shape[2] - 2, buffer.shape[3] - 2
    result = planes(buffer, count, 2 * height, 2 * width, 8 * chunks)
    # As numbers of 16 bytes, so that a thread copies a pixel's chunk.
    source, target = (b.view(torch.complex128)[:, :, 1:-1, 1:-1, 0] for b in (buffer, result))
    target.view(count, chunks, height, 2, width, 2).copy_(source[:, :, :, None, :, None])
    return result


@dataclass(eq=False)
class PlaneLayer:
    """A convolution of `kind` with weights, outputs x inputs x 3 x 3 in fp32, on `device`, by a kernel of `shape`."""

    kind: Kind
    weight: torch.Tensor
    bias: torch.Tensor
    slopes: torch.Tensor | None
    shape: Shape
    device: torch.device
    _rows: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        rows = torch.zeros((2, filled_outputs(self.kind.outputs)))
        rows[0, : self.kind.outputs] = self.bias
        if self.slopes is not None:
            rows[1, : self.kind.outputs] = self.slopes
        self._rows = rows.to(self.device)
        self.weight = packed(self.weight, self.kind.inputs).to(self.device)

    def constants(self) -> dict[str, int]:
        """Return the constants that the kernel is compiled for."""
        kind, shape = self.kind, self.shape
        return {
            "OUTPUTS": filled_outputs(kind.outputs), "GROUPS": shape.groups, "STEPS": sum(map(steps, kind.inputs)),
            "STEPS_ONE": steps(kind.inputs[0]), "STAGES": shape.stages, "RESIDENT": int(shape.resident), "TURNS": int(shape.turns),
            "ACTIVATED": int(kind.activated), "RESIDUALS": kind.residuals,
        }  # fmt: skip

    def arguments(
        self, inputs: Sequence[torch.Tensor], out: torch.Tensor, residuals: Sequence[tuple[torch.Tensor, float]] = ()
    ) -> tuple[Argument, ...]:
        """Return the kernel's arguments; `inputs` and `residuals` are planes, `out` N x chunks x (H + 2) x (W + 2) x 8 of any strides."""
        rest = [*residuals, (out, 0.0), (out, 0.0)][:2]
        count, chunks, height, width = out.shape[0], out.shape[1], out.shape[2] - 2, out.shape[3] - 2
        return (
            _source(inputs[0]), _source(inputs[-1]), ctypes.c_void_p(self.weight.data_ptr()), ctypes.c_void_p(self._rows.data_ptr()),
            Rest(
                _target(out), _target(rest[0][0]), _target(rest[1][0]), rest[0][1], rest[1][1],
                height, width, min(chunks, -(-self.kind.outputs // 8)),
            ),
            ctypes.c_int(count),
        )  # fmt: skip

    def run(
        self, inputs: Sequence[torch.Tensor], out: torch.Tensor, residuals: Sequence[tuple[torch.Tensor, float]] = ()
    ) -> None:
        """Fill `out` within its border."""
        with launching_on(out):
            kernel = compiled("plane_convolution.cu", "convolve", tuple(self.constants().items()), out.device.index)
            blocks = torch.cuda.get_device_properties(out.device).multi_processor_count
            kernel.launch(blocks, _THREADS, shared_bytes(self.kind, self.shape), self.arguments(inputs, out, residuals))


def _source(buffer: torch.Tensor) -> Source:
    image, chunk, row = (s // 8 for s in buffer.stride()[:3])
    return Source(buffer.data_ptr(), image, chunk, row)


def _target(buffer: torch.Tensor) -> Target:
    return Target(buffer.data_ptr(), *buffer.stride()[:4])
