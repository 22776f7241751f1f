"""Hopper's convolution compiled for a processor by g++, each thread of a block a thread: `hopper_on_cpu.hpp`."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from pathlib import Path

import torch

from workers.card import planes
from workers.card.planes import PlaneLayer

_CODE = """
#include "plane_convolution.cu"
extern "C" void run(const Source* one, const Source* two, const u8* weights, const float* rows, const Rest* rest, int images) {
    run_blocks(2, THREADS, [=] { convolve(*one, *two, weights, rows, *rest, images); });
}
"""


class HopperOnCpu:
    """Runs layers on a processor. What it compiles is kept in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "hopper.cuh").write_text(Path(__file__).with_suffix(".hpp").read_text())
        (folder / "run.cpp").write_text(_CODE)

    def run(
        self, layer: PlaneLayer, inputs: Sequence[torch.Tensor], out: torch.Tensor,
        residuals: Sequence[tuple[torch.Tensor, float]] = (),
    ) -> None:  # fmt: skip
        """Do what `layer.run` does on a card, with two blocks."""
        one, two, weights, rows, rest, count = layer.arguments(inputs, out, residuals)
        library = ctypes.CDLL(str(self._library(layer.constants())))
        library.run(ctypes.byref(one), ctypes.byref(two), weights, rows, ctypes.byref(rest), count)

    def _library(self, constants: dict[str, int]) -> Path:
        path = self._folder / f"{'-'.join(map(str, constants.values()))}.so"
        if not path.exists():
            command = ["g++", "-std=c++20", "-O2", "-fPIC", "-shared", "-pthread", f"-I{self._folder}"]
            command += [
                f"-I{Path(planes.__file__).parent}",
                *(f"-D{name}={value}" for name, value in constants.items()),
            ]
            subprocess.run([*command, str(self._folder / "run.cpp"), "-o", str(path)], check=True)
        return path
