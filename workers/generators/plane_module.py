"""A family's program of convolutions on a Hopper card, between buffers of planes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from workers.card.convolution import Kind
from workers.card.planes import PlaneLayer, Shape, chunked, clear_border, doubled, planes, steps
from workers.generators.native.program import Convolution, Program, Slice


class PlaneModule(torch.nn.Module):
    """A program of convolutions on `device`.

    It takes N x 3 x H x W in half floats and returns N x h x w x C, whose channels are still to be shuffled into pixels, without the base.
    Buffers live for one call: a CUDA graph keeps those of its recording.
    """

    def __init__(
        self, program: Program, device: torch.device, kinds: Mapping[Convolution, Kind], shapes: Mapping[Kind, Shape]
    ) -> None:
        super().__init__()
        self._program = program
        self._layers = {c: _layer(c, device, kind, shapes[kind]) for c, kind in kinds.items()}

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        """Enlarge `rgb` but for the last steps; raise MemoryError where an image is too large for one buffer."""
        program = self._program
        inputs = torch.nn.functional.pixel_unshuffle(rgb, program.unshuffle) if program.unshuffle > 1 else rgb
        buffers = {"in": chunked(inputs)}
        self._run(program.body, buffers)
        kept = {s.buffer for c in program.tail[:1] for s in c.inputs} | {"out"}
        buffers = {name: buffer for name, buffer in buffers.items() if name in kept}
        self._run(program.tail, buffers)
        return buffers["out"][:, :, 1:-1, 1:-1].permute(0, 2, 3, 1, 4).flatten(3)[..., : program.channels["out"]]

    def _run(self, convolutions: Iterable[Convolution], buffers: dict[str, torch.Tensor]) -> None:
        for convolution in convolutions:
            inputs = [_view(buffers, s) for s in convolution.inputs]
            if convolution.double:
                inputs = [doubled(i) for i in inputs]
                for one in inputs:
                    clear_border(one)
            name = convolution.output.buffer
            if name not in buffers:
                buffers[name] = self._buffer(name, inputs[0])
            residuals = [(_view(buffers, s), factor) for s, factor in convolution.residuals]
            self._layers[convolution].run(inputs, _view(buffers, convolution.output), residuals)

    def _buffer(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """Return a buffer of planes; the result's pixels lie as in N x H x W x C, and nothing reads its border."""
        count, height, width = like.shape[0], like.shape[2] - 2, like.shape[3] - 2
        channels = self._program.channels[name]
        if name != "out":
            made = planes(like, count, height, width, channels)
            clear_border(made)
            return made
        chunks = -(-channels // 8)
        flat = torch.empty((count, height + 2, width + 2, chunks, 8), dtype=torch.float16, device=like.device)
        return flat.permute(0, 3, 1, 2, 4)


def _layer(convolution: Convolution, device: torch.device, kind: Kind, shape: Shape) -> PlaneLayer:
    weight, bias = torch.from_numpy(convolution.weight), torch.from_numpy(convolution.bias)
    slopes = torch.from_numpy(convolution.slopes) if convolution.slopes is not None else None
    return PlaneLayer(kind, weight, bias, slopes, shape, device)


def _view(buffers: Mapping[str, torch.Tensor], part: Slice) -> torch.Tensor:
    """Return the chunks of a buffer; the result's may be one less than a step's."""
    return buffers[part.buffer][:, part.first // 8 : part.first // 8 + 2 * steps(part.channels)]
