"""A 3x3 convolution on a card between bordered buffers: in PyTorch's kernels, or as one Triton kernel in several shapes of tiles."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from workers.card.launch import launching_on

_DEEP = 16
"""Channels that a tensor core multiplies at once; fewer are filled up with zeros."""
_WIDEST = 128
"""Outputs of one program."""
_ADDRESSABLE = 2**31
"""Values of one image that the kernel's offsets, which are 32-bit integers, can reach."""


@dataclass(frozen=True)
class Kind:
    """Everything about a convolution that decides which kernel is fastest.

    `inputs` are the channels of each input (one or two); `double` repeats every pixel first; `residuals` (up to two) are added at the end.
    """

    inputs: tuple[int, ...]
    outputs: int
    activated: bool
    residuals: int
    double: bool


@dataclass(frozen=True)
class Tile:
    """A program's part of the work: a rectangle of pixels, and how many warps and stages of prefetched memory it has."""

    rows: int
    columns: int
    warps: int
    stages: int

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}, {self.warps} warps, {self.stages} stages"


TILES = (Tile(8, 16, 4, 3), Tile(8, 16, 8, 4), Tile(8, 32, 8, 3), Tile(4, 16, 4, 4))
"""Shapes that a trial measures. 128 pixels fill a tensor core's instruction of sm_90 twice; sm_89 has memory for small ones only."""


@dataclass(frozen=True, eq=False)
class Operands:
    """The buffers of one call: N x (H + 2) x (W + 2) x C, views of channels, all with a border of zeros; residuals with factors."""

    inputs: tuple[torch.Tensor, ...]
    output: torch.Tensor
    residuals: tuple[tuple[torch.Tensor, float], ...] = ()


def bordered(like: torch.Tensor, count: int, height: int, width: int, channels: int) -> torch.Tensor:
    """Return an empty buffer of `like`'s type and device; whichever layer fills it also clears the border.

    Raises MemoryError where an image has more values than the kernel's offsets reach, so that a smaller tile of it is tried.
    """
    if (height + 2) * (width + 2) * channels >= _ADDRESSABLE:
        raise MemoryError(
            f"{height}x{width} pixels of {channels} channels are too many for one buffer; use smaller tiles"
        )
    return like.new_empty((count, height + 2, width + 2, channels))


def filled(channels: int) -> int:
    """Return the channels that an input buffer needs, those of zeros included."""
    return -(-channels // _DEEP) * _DEEP


@dataclass(eq=False)
class Layer:
    """A convolution of `kind` with weights, outputs x inputs x 3 x 3 in fp32, on `device` in `precision`.

    `tile` is that of the Triton kernel; None runs PyTorch's. `slopes` (one for each output) are those of a leaky activation.
    """

    kind: Kind
    weight: torch.Tensor
    bias: torch.Tensor
    slopes: torch.Tensor | None
    tile: Tile | None
    device: torch.device
    precision: torch.dtype = torch.float16
    _packed: torch.Tensor = field(init=False)
    _rows: tuple[torch.Tensor, torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        kind, weight = self.kind, self.weight
        block = _block_n(kind.outputs)
        padded = -(-kind.outputs // block) * block
        parts = []
        for part in torch.split(weight, list(kind.inputs), 1):
            whole = weight.new_zeros((3, 3, filled(part.shape[1]), padded))
            whole[:, :, : part.shape[1], : kind.outputs] = part.permute(2, 3, 1, 0)
            parts.append(whole.flatten(0, 2))
        self._packed = torch.cat(parts).to(self.device, self.precision).contiguous()
        rows = torch.zeros((2, padded))
        rows[0, : kind.outputs] = self.bias
        if self.slopes is not None:
            rows[1, : kind.outputs] = self.slopes
        on_card = rows.to(self.device)
        self._rows = on_card[0], on_card[1]
        self.weight = weight.to(self.device, self.precision).contiguous(memory_format=torch.channels_last)
        self.bias = self.bias.to(self.device, self.precision)
        self.slopes = self.slopes.to(self.device, self.precision) if self.slopes is not None else None

    def run(self, operands: Operands) -> None:
        """Fill the output, its border included."""
        if self.tile is None:
            self._run_in_torch(operands)
        else:
            self._run_in_triton(operands, self.tile)

    def _run_in_torch(self, operands: Operands) -> None:
        parts = [_inner(b)[..., :n] for b, n in zip(operands.inputs, self.kind.inputs, strict=True)]
        whole = (torch.cat(parts, 3) if len(parts) > 1 else parts[0]).permute(0, 3, 1, 2)
        if self.kind.double:
            whole = torch.nn.functional.interpolate(whole, scale_factor=2, mode="nearest")
        result = torch.nn.functional.conv2d(whole, self.weight, self.bias, padding=1)
        if self.slopes is not None:
            result = torch.nn.functional.prelu(result, self.slopes)
        result = result.permute(0, 2, 3, 1)
        for other, factor in operands.residuals:
            result = result.add(_inner(other), alpha=factor)
        operands.output.copy_(torch.nn.functional.pad(result, (0, 0, 1, 1, 1, 1)))

    def _run_in_triton(self, operands: Operands, tile: Tile) -> None:
        from workers.card.convolution_kernel import convolve

        kind, out = self.kind, operands.output
        buffers = [*operands.inputs, out][:2] if len(operands.inputs) == 1 else list(operands.inputs)
        rest = [*operands.residuals, (out, 0.0), (out, 0.0)][:2]
        count, height, width = out.shape[0], out.shape[1] - 2, out.shape[2] - 2
        strides = [s for b in (*buffers, *(b for b, _ in rest), out) for s in b.stride()[:3]]
        tiles = -(-(height + 2) // tile.rows) * -(-(width + 2) // tile.columns)
        padded = self._packed.shape[1]
        with launching_on(out):
            convolve[(tiles, padded // _block_n(kind.outputs), count)](
                *buffers, self._packed, *self._rows, *(b for b, _ in rest), out, height, width, padded, *strides, rest[0][1], rest[1][1],
                **blocks(kind, tile), num_warps=tile.warps, num_stages=tile.stages,
            )  # fmt: skip


def blocks(kind: Kind, tile: Tile) -> dict[str, int | bool]:
    """Return the constants that a kernel of `kind` with `tile` is compiled for."""
    one, two = [*map(filled, kind.inputs), 0][:2]
    return {
        "one_channels": one, "two_channels": two, "outputs": kind.outputs, "double": kind.double, "activated": kind.activated,
        "residuals": kind.residuals, "rows": tile.rows, "columns": tile.columns, "block_n": _block_n(kind.outputs),
        "one_k": _block_k(one), "two_k": _block_k(two or _DEEP),
    }  # fmt: skip


def _block_n(outputs: int) -> int:
    """Return the outputs of one program."""
    return min(_WIDEST, max(_DEEP, 1 << (outputs - 1).bit_length()))


def _block_k(channels: int) -> int:
    """Return the channels of one step: a power of two that divides them, at most 64."""
    return min(64, channels & -channels)


def _inner(buffer: torch.Tensor) -> torch.Tensor:
    return buffer[:, 1:-1, 1:-1]
