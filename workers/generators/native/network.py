"""The native backend's network: a program of convolutions on all cores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch

from workers.generators.native.matrix import INPUTS
from workers.generators.native.matrix_layers import MatrixLayers
from workers.generators.native.memory import BufferPool, ThreadTeam, View
from workers.generators.native.program import Convolution, Program, fills_vectors
from workers.generators.native.shuffle import Shuffle
from workers.generators.native.winograd_layers import WinogradLayers
from workers.generators.network import go_on
from workers.llvm.machine import has_matrix_unit, multiplies_bf16, vectors

_STRIP = 32
"""Rows, at the body's size, in one strip of the tail; each strip adds 2 * reach rows that are computed twice."""


class Layers(Protocol):
    """A program's convolutions, compiled for this processor, and the buffers that they work on.

    Where it `spreads`, the body itself shuffles the pixels and adds the frame: ``out`` is then the result and ``frame`` the frame.
    """

    spreads: bool

    def view(self, name: str, height: int, width: int) -> View:
        """Return a buffer; its border is zero where a layer reads it."""

    def load_input(self, view: View, frame: torch.Tensor) -> None:
        """Put `frame`, C x H x W, into the buffer ``in``."""

    def run(
        self, convolutions: tuple[Convolution, ...], views: dict[str, View], checkpoint: Callable[[], None]
    ) -> None:
        """Run `convolutions`, the body or tail of the program, in order; ``out`` is in fp32. `checkpoint` comes between runs, and may raise."""


def ways(program: Program) -> list[tuple[str, str]]:
    """List the backends and precisions in which this processor runs `program`, fastest expected first.

    In bf16 there are two backends, since their roundings differ visibly, and a job is computed by one of them: ``native`` is direct
    convolutions on a matrix unit, ``winograd`` Winograd's algorithm on vectors.
    """
    found = vectors()
    if found is None:
        return []
    filled = fills_vectors(program, found[0])
    halves = []
    if has_matrix_unit() and fills_vectors(program, INPUTS):
        halves = [("native", "bf16")]
    elif multiplies_bf16() and filled:
        halves = [("winograd", "bf16")]
    return halves + [("native", "fp32")] * filled


class NativeNetwork:
    """A network that runs a program of convolutions. Not thread-safe: it uses all cores itself."""

    device = torch.device("cpu")

    def __init__(self, program: Program, way: tuple[str, str], threads: int, cache: Path) -> None:
        """Compile one of the `ways` for this processor (machine code is kept below `cache`); `threads` 0 means all cores."""
        self.backend, self.precision = way
        self.checkpoint: Callable[[], None] = go_on
        self._program = program
        self._buffers = BufferPool()
        self._team = ThreadTeam(threads)
        self._layers: Layers = (
            MatrixLayers(program, self._team, self._buffers, cache)
            if way == ("native", "bf16")
            else WinogradLayers(program, self._team, self._buffers, cache, self.precision)
        )
        shuffles = not program.tail and not self._layers.spreads
        self._shuffle = Shuffle(program.shuffle, program.base, cache) if shuffles else None
        own = {c.output.buffer for c in program.tail}
        self._body_buffers = [n for n in program.channels if n not in own]

    @torch.no_grad()
    def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
        """Enlarge each frame of `rgb`; on a MemoryError, free the buffers and raise it."""
        self._team.wait_idle()
        try:
            results = [self._frame(rgb[n : n + 1].contiguous()) for n in range(rgb.shape[0])]
            return results[0] if len(results) == 1 else torch.cat(results)
        except MemoryError:
            self._buffers.clear()
            raise

    def _frame(self, rgb: torch.Tensor) -> torch.Tensor:
        program = self._program
        inputs = torch.nn.functional.pixel_unshuffle(rgb, program.unshuffle) if program.unshuffle > 1 else rgb
        height, width = inputs.shape[-2:]
        result = torch.empty((1, 3, rgb.shape[-2] * program.scale, rgb.shape[-1] * program.scale))
        views = {"out": _picture(result), "frame": _picture(rgb)} if self._layers.spreads else {}
        views |= {n: self._layers.view(n, height, width) for n in self._body_buffers if n not in views}
        self._layers.load_input(views["in"], inputs[0])
        self._layers.run(program.body, views, self.checkpoint)
        if self._layers.spreads:
            return result
        if self._shuffle is not None:
            self._shuffle.run(self._team, views["out"].pixels[0], rgb[0].numpy(), result[0].numpy())
            return result
        for first in range(0, height, _STRIP):
            self._strip(views, first, min(first + _STRIP, height), height, result)
        return result

    def _strip(self, body: dict[str, View], first: int, last: int, height: int, result: torch.Tensor) -> None:
        """Run the tail on rows `first` .. `last` - 1 and copy its output into `result`."""
        reach = self._program.reach
        low, high = max(0, first - reach), min(height, last + reach)
        views = {name: view.rows(low, high) for name, view in body.items()}
        for convolution in self._program.tail:
            source, name = views[convolution.inputs[0].buffer], convolution.output.buffer
            size = 2 if convolution.double else 1
            views[name] = self._layers.view(name, source.height * size, source.width * size)
        self._layers.run(self._program.tail, views, self.checkpoint)
        grown = views["out"].height // (high - low)
        strip = torch.from_numpy(views["out"].pixels[0, (first - low) * grown : (last - low) * grown, :, :3])
        result[0, :, first * grown : last * grown].copy_(strip.permute(2, 0, 1))


def _picture(tensor: torch.Tensor) -> View:
    """Return the first of N x C x H x W as C planes of one channel, without a border."""
    return View(tensor[0].numpy()[..., None], *tensor.shape[-2:])
