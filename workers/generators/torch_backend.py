"""Networks that run in PyTorch: on CUDA, on Apple's MPS, and on CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from contract.errors import UsageError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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


class TorchNetwork:
    """A torch module on `device` in `precision`, channels last."""

    backend = "torch"

    def __init__(self, module: torch.nn.Module, device: torch.device, precision: str) -> None:
        self.device = device
        self.precision = precision
        self._dtype = _DTYPES[precision]
        module.eval().requires_grad_(False)
        self._module = module.to(device, self._dtype).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
        with memory_errors():
            shaped = rgb.to(self._dtype).contiguous(memory_format=torch.channels_last)
            result: torch.Tensor = self._module(shaped)
            return result.float().contiguous()


@contextmanager
def memory_errors() -> Iterator[None]:
    """Whatever torch raises when a device's memory is short becomes a MemoryError."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise MemoryError(str(error)) from error
    except RuntimeError as error:
        # The CPU allocator has no class of its own for this.
        if "can't allocate memory" in str(error) or "not enough memory" in str(error):
            raise MemoryError(str(error)) from error
        raise
