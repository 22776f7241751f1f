"""A family's program of convolutions on a card, each of them one kernel: bias, activation, residuals and concatenation cost no pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch

from workers.card import plane_trial
from workers.card.convolution import Kind, Layer, Operands, Tile, bordered, filled
from workers.card.layer_trial import encoded, ways_of
from workers.card.pictures import Picture
from workers.card.proof import Proofs
from workers.generators.memory import memory_errors
from workers.generators.native.program import Convolution, Program, Slice
from workers.generators.plane_module import PlaneModule
from workers.generators.torch_backend import TorchNetwork

_TRIAL = "workers.card.layer_trial"
_PLANE_TRIAL = "workers.card.plane_trial"

Ways = Mapping[Kind, Tile | None]
"""The tile of each kind's Triton kernel; None runs PyTorch's kernels."""


def kind_of(convolution: Convolution) -> Kind:
    """Return what a trial needs to know of `convolution`."""
    return Kind(
        tuple(s.channels for s in convolution.inputs),
        convolution.output.channels,
        convolution.slopes is not None,
        len(convolution.residuals),
        convolution.double,
    )


def kinds_of(program: Program) -> list[Kind]:
    """List the different kinds of convolutions in `program`."""
    return list(dict.fromkeys(kind_of(c) for c in (*program.body, *program.tail)))


def fits(program: Program) -> bool:
    """Return whether buffers between layers fill whole steps of the kernel, so that none reads another slice's channels."""
    between = {n for n in program.channels if n not in ("in", "out")}
    every = [s for c in (*program.body, *program.tail) for s in (*c.inputs, c.output) if s.buffer in between]
    return all(s.channels == filled(s.channels) and s.first == filled(s.first) for s in every)


def proved_module(program: Program, proofs: Proofs) -> Callable[[], torch.nn.Module] | None:
    """Return what makes the program's module on the card at hand.

    None where no kernel of ours is right, or, elsewhere than on Hopper, where none is the fastest for its layer. On Hopper all layers run
    between planes, if every kind of layer is right there. Elsewhere each kind runs by the fastest way.
    """
    if not fits(program):
        return None
    kinds = kinds_of(program)
    if plane_trial.fits(proofs.device):
        outcome = proofs.outcome(_PLANE_TRIAL, encoded(kinds))
        shapes = plane_trial.shapes_of(outcome, kinds) if outcome is not None else None
        if shapes is not None:
            layers = {c: kind_of(c) for c in (*program.body, *program.tail)}
            return partial(PlaneModule, program, proofs.device, layers, shapes)
    outcome = proofs.outcome(_TRIAL, encoded(kinds))
    ways = ways_of(outcome, kinds) if outcome is not None else {}
    return partial(FusedModule, program, proofs.device, ways) if any(ways.values()) else None


class FusedModule(torch.nn.Module):
    """A program of convolutions on `device`.

    It takes N x 3 x H x W, channels last, in half floats (fp32 in tests) and returns N x h x w x C in the same type, whose channels are still to
    be shuffled into pixels, without the base. Buffers live for one call: a CUDA graph keeps those of its recording.
    """

    def __init__(
        self, program: Program, device: torch.device, ways: Ways, precision: torch.dtype = torch.float16
    ) -> None:
        super().__init__()
        self._program = program
        self._layers = {c: _layer(c, device, ways, precision) for c in (*program.body, *program.tail)}

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        """Enlarge `rgb` but for the last steps; raise MemoryError where an image is too large for one buffer."""
        program = self._program
        inputs = torch.nn.functional.pixel_unshuffle(rgb, program.unshuffle) if program.unshuffle > 1 else rgb
        count, channels, height, width = inputs.shape
        first = bordered(inputs, count, height, width, filled(channels)).zero_()
        first[:, 1:-1, 1:-1, :channels] = inputs.permute(0, 2, 3, 1)
        buffers = {"in": first}
        self._run(program.body, buffers)
        kept = {s.buffer for c in program.tail[:1] for s in c.inputs} | {"out"}
        buffers = {name: buffer for name, buffer in buffers.items() if name in kept}
        self._run(program.tail, buffers)
        return buffers["out"][:, 1:-1, 1:-1]

    def _run(self, convolutions: Iterable[Convolution], buffers: dict[str, torch.Tensor]) -> None:
        for convolution in convolutions:
            name = convolution.output.buffer
            if name not in buffers:
                source = buffers[convolution.inputs[0].buffer]
                size = 2 if convolution.double else 1
                height, width = (size * (side - 2) for side in source.shape[1:3])
                buffers[name] = bordered(source, len(source), height, width, self._program.channels[name])
            operands = Operands(
                tuple(_view(buffers, s, padded=True) for s in convolution.inputs),
                _view(buffers, convolution.output),
                tuple((_view(buffers, s), factor) for s, factor in convolution.residuals),
            )
            self._layers[convolution].run(operands)


class FusedNetwork(TorchNetwork):
    """A program on a card in half floats, recorded as CUDA graphs like PyTorch's networks, and never compiled by torch.compile."""

    backend = "fused"

    def __init__(self, program: Program, module: torch.nn.Module, device: torch.device) -> None:
        super().__init__(module, device, "fp16")
        self._program = program

    @torch.no_grad()
    def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
        """Enlarge `rgb`; raise MemoryError when the card's memory is short."""
        with memory_errors(self._recorded.clear):
            return finished(*self._unfinished(rgb), self._program)

    @torch.no_grad()
    def pictures(self, rgb: torch.Tensor) -> list[Picture]:
        """Enlarge `rgb` but for shuffling pixels and adding the base, for a kernel that does so; raise MemoryError like a call.

        The next call overwrites the pictures.
        """
        with memory_errors(self._recorded.clear):
            out, inputs = self._unfinished(rgb)
        base = self._program.base
        return [
            Picture(image.permute(2, 0, 1), self._program.shuffle, one if base else None)
            for image, one in zip(out, inputs, strict=True)
        ]

    def _unfinished(self, rgb: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = rgb.half().contiguous(memory_format=torch.channels_last)
        return self._runner(inputs)(inputs), inputs


def _layer(convolution: Convolution, device: torch.device, ways: Ways, precision: torch.dtype) -> Layer:
    kind = kind_of(convolution)
    weight, bias = torch.from_numpy(convolution.weight), torch.from_numpy(convolution.bias)
    slopes = torch.from_numpy(convolution.slopes) if convolution.slopes is not None else None
    return Layer(kind, weight, bias, slopes, ways.get(kind), device, precision)


def _view(buffers: Mapping[str, torch.Tensor], part: Slice, padded: bool = False) -> torch.Tensor:
    """Return the channels of a buffer; those of zeros that fill the input's up, too, if `padded`."""
    return buffers[part.buffer][..., part.first : part.first + (filled(part.channels) if padded else part.channels)]


def finished(pixels: torch.Tensor, rgb: torch.Tensor, program: Program) -> torch.Tensor:
    """Shuffle N x h x w x C into pixels, and add the frame `rgb` if the program has a base: N x 3 x H x W in fp32."""
    s = program.shuffle
    count, height, width, _ = pixels.shape
    parts = pixels.reshape(count, height, width, 3, s, s).permute(0, 3, 1, 4, 2, 5)
    result = torch.empty((count, 3, height, s, width, s), device=pixels.device)
    if program.base:
        torch.add(parts.float(), rgb[:, :, :, None, :, None], out=result)
    else:
        result.copy_(parts)
    return result.view(count, 3, height * s, width * s)
