"""What makes a network quicker on CUDA for a shape that comes again: fewer kernels, and one launch for all of them.

Left to itself PyTorch adds the bias of a convolution, and applies its activation, by kernels of their own: with 64 channels
on an H200 they took twice as long as the convolution. torch.compile makes one of them, or none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

Run = Callable[[torch.Tensor], torch.Tensor]
Recorder = Callable[[Run, torch.Tensor], Run]
"""Makes of a run of the network, and an input like those to come, a run that is quicker for exactly that shape."""
Fuser = Callable[[Run], Run]
"""Makes of a network one with fewer kernels; what it lacks for that shows at the first run, by any error."""

_WARM = 3
"""Runs before recording, in which cuDNN tries its algorithms; PyTorch's own advice for graph capture."""


def record_cuda_graph(run: Run, example: torch.Tensor) -> Run:
    """`run` as a CUDA graph for inputs of `example`'s shape, dtype and layout."""
    held = torch.empty_like(example)
    held.copy_(example)
    side = torch.cuda.Stream(example.device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream(example.device))
    with torch.cuda.stream(side):
        for _ in range(_WARM):
            run(held)
    torch.cuda.current_stream(example.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # Other threads copy frames meanwhile, which only a capture of the whole process would forbid.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        made = run(held)

    def replay(shown: torch.Tensor) -> torch.Tensor:
        held.copy_(shown)
        graph.replay()
        return made

    return replay


def fuser(cache: Path) -> Fuser:
    """torch.compile for one shape after the other; what it compiles is kept below `cache`. Needs Triton and a C compiler."""

    def fuse(run: Run) -> Run:
        # The default is a folder of the system's temporary one, whose name anybody can guess and take first.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "compiled" / "torch"))
        made: Run = torch.compile(run, dynamic=False)
        return made

    return fuse
