"""Networks that run in PyTorch: on CUDA, on Apple's MPS, and on CPUs.

On CUDA a network runs in fp16, channels last; shapes that come again, which in a film is every frame, are recorded as
CUDA graphs, so that the hundreds of kernels of a network cost one launch. That part has not run on a GPU yet; all around
it runs on the CPU in the tests, with a recorder that records nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch

from contract.errors import UsageError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_KEPT = 3
"""Recorded shapes kept: each holds the memory of one run of the network."""
_WARM = 3
"""Runs before recording, in which cuDNN tries its algorithms; PyTorch's own advice for graph capture."""

Run = Callable[[torch.Tensor], torch.Tensor]
Recorder = Callable[[Run, torch.Tensor], Run]
"""Makes of a run of the network, and an input like those to come, a run that is quicker for exactly that shape."""


def pick_device(wanted: str) -> torch.device:
    """The device named by settings.device: CUDA, else MPS, else CPU for ``auto``; raise UsageError if it is not there."""
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"device {wanted!r} cannot be used: {str(error).splitlines()[0]}; choose auto or cpu."
        ) from error
    return device


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
    with torch.cuda.graph(graph):
        made = run(held)

    def replay(shown: torch.Tensor) -> torch.Tensor:
        held.copy_(shown)
        graph.replay()
        return made

    return replay


class TorchNetwork:
    """A torch module on `device` in `precision`, channels last."""

    backend = "torch"

    def __init__(
        self, module: torch.nn.Module, device: torch.device, precision: str, recorder: Recorder | None = None
    ) -> None:
        """`recorder` is CUDA graphs on CUDA unless given, and nothing elsewhere."""
        self.device = device
        self.precision = precision
        self._dtype = _DTYPES[precision]
        module.eval().requires_grad_(False)
        self._module = module.to(device, self._dtype).to(memory_format=torch.channels_last)
        self._recorder = recorder
        if device.type == "cuda":
            self._recorder = recorder or record_cuda_graph
            torch.backends.cudnn.benchmark = True  # shapes come again, so trying all algorithms once pays
        self._seen: tuple[int, ...] | None = None
        self._recorded: OrderedDict[tuple[int, ...], Run] = OrderedDict()

    @torch.no_grad()
    def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
        try:
            shown = rgb.to(self._dtype).contiguous(memory_format=torch.channels_last)
            made = self._runner(shown)(shown)
            result = made.float().contiguous()
            # The next run of a record writes over the memory of this one's result.
            shared = self._recorder is not None and result.data_ptr() == made.data_ptr()
            return result.clone() if shared else result
        except torch.cuda.OutOfMemoryError as error:
            self._recorded.clear()
            torch.cuda.empty_cache()
            raise MemoryError(str(error)) from error
        except RuntimeError as error:
            # The CPU allocator has no class of its own for this.
            if "can't allocate memory" in str(error) or "not enough memory" in str(error):
                raise MemoryError(str(error)) from error
            raise

    def _runner(self, shown: torch.Tensor) -> Run:
        """The network, or its record for this shape: made when a shape comes for the second time in a row."""
        shape = tuple(shown.shape)
        if self._recorder is None:
            return self._module
        if shape in self._recorded:
            self._recorded.move_to_end(shape)
            return self._recorded[shape]
        if shape != self._seen:
            self._seen = shape
            return self._module
        while len(self._recorded) >= _KEPT:
            self._recorded.popitem(last=False)
        self._recorded[shape] = self._recorder(self._module, shown)
        return self._recorded[shape]
