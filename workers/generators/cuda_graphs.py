"""CUDA graphs and compilation: fewer kernels, and one launch for all of them, for input shapes that recur.

By default PyTorch adds the bias of a convolution, and applies its activation, in separate kernels: with 64 channels
on an H200 they took twice as long as the convolution. torch.compile fuses them into one kernel, or into the convolution.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

Run = Callable[[torch.Tensor], torch.Tensor]
Recorder = Callable[[Run, torch.Tensor], Run]
"""Takes a callable network and an example input; returns a faster callable for exactly that shape."""
Fuser = Callable[[Run], Run]
"""Takes a callable network and returns one with fewer kernels. Missing requirements show at the first run, as any exception."""

_WARM = 3
"""Runs before recording, in which cuDNN tries its algorithms; PyTorch's documentation advises so for graph capture."""


def record_cuda_graph(run: Run, example: torch.Tensor) -> Run:
    """Record `run` as a CUDA graph for inputs of `example`'s shape, dtype and layout.

    The returned callable overwrites one result tensor at each call.
    """
    buffer = torch.empty_like(example)
    buffer.copy_(example)
    side = torch.cuda.Stream(example.device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream(example.device))
    with torch.cuda.stream(side):
        for _ in range(_WARM):
            run(buffer)
    torch.cuda.current_stream(example.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # Other threads copy frames meanwhile; a capture in global mode would forbid that.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = run(buffer)

    def replay(inputs: torch.Tensor) -> torch.Tensor:
        buffer.copy_(inputs)
        graph.replay()
        return result

    return replay


def fuser(cache: Path) -> Fuser:
    """Return a fuser that uses torch.compile for static shapes and keeps its results below `cache`.

    It needs Triton and a C compiler.
    """

    def fuse(run: Run) -> Run:
        # The default is in the system's temporary folder, under a name that another user can guess and create first.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "compiled" / "torch"))
        compiled_run: Run = torch.compile(run, dynamic=False)
        return compiled_run

    return fuse
