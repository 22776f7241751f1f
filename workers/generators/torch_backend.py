"""Networks that run in PyTorch: on CUDA, on Apple's MPS, and on CPUs.

On CUDA a network runs in fp16, channels last; shapes that come again, which in a film is every frame, are recorded as
CUDA graphs, so that the hundreds of kernels of a network cost one launch, and shapes that come often are compiled before.
On the CPU the tests run all of it with a recorder that records nothing.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from dataclasses import dataclass

import torch

from contract.errors import UsageError
from workers.generators.cuda_graphs import Fuser, Recorder, Run, record_cuda_graph

_log = logging.getLogger(__name__)

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_KEPT = 3
"""Recorded shapes kept: each holds the memory of one run of the network."""
OFTEN = 64
"""Runs of a shape after which it is compiled. Compiling takes some ten seconds: frames of a film repay them, images rarely."""
_SAFE_DB = 50.0
"""What was compiled must stay this near to what was not, peak signal to noise."""


@dataclass
class _Recorded:
    """A shape's way through the network, and how often it was gone."""

    run: Run
    runs: int = 0


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

    def __init__(
        self,
        module: torch.nn.Module,
        device: torch.device,
        precision: str,
        recorder: Recorder | None = None,
        fuser: Fuser | None = None,
    ) -> None:
        """`recorder` is CUDA graphs on CUDA unless given, and nothing elsewhere; without one, `fuser` is not used."""
        self.device = device
        self.precision = precision
        self._dtype = _DTYPES[precision]
        module.eval().requires_grad_(False)
        self._module = module.to(device, self._dtype).to(memory_format=torch.channels_last)
        self._recorder = recorder
        self._fuser = fuser
        if device.type == "cuda":
            self._recorder = recorder or record_cuda_graph
            torch.backends.cudnn.benchmark = True  # shapes come again, so trying all algorithms once pays
            # By default fp32 convolutions are computed in TF32, whose ten bits are no better than fp16's.
            torch.backends.cudnn.allow_tf32 = False
        self._seen: tuple[int, ...] | None = None
        self._recorded: OrderedDict[tuple[int, ...], _Recorded] = OrderedDict()

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
        """The network, or its record for this shape: made when a shape comes for the second time in a row, and once more,
        of what is compiled by then, when it has come often."""
        shape = tuple(shown.shape)
        if self._recorder is None:
            return self._module
        if shape not in self._recorded:
            if shape != self._seen:
                self._seen = shape
                return self._module
            while len(self._recorded) >= _KEPT:
                self._recorded.popitem(last=False)
            self._recorded[shape] = _Recorded(self._recorder(self._module, shown))
        self._recorded.move_to_end(shape)
        record = self._recorded[shape]
        record.runs += 1
        if record.runs == OFTEN and self._fuser is not None:
            record.run = self._compiled(self._fuser, self._recorder, record.run, shown)
        return record.run

    def _compiled(self, fuser: Fuser, recorder: Recorder, plain: Run, shown: torch.Tensor) -> Run:
        """A record of the compiled network for `shown`'s shape, or `plain` where there can be none or it gives another picture."""
        before = plain(shown).float().clone()
        try:
            run = recorder(fuser(self._module), shown)
            off = float((run(shown).float() - before).square().mean())
        except Exception as error:  # a compiler may lack anything, and the network runs without it
            self._fuser = None
            _log.warning("the network is not compiled, and slower for it: %s", str(error).splitlines()[0])
            return plain
        near = -10 * math.log10(off) if off else math.inf
        if not near >= _SAFE_DB:
            self._fuser = None
            _log.warning("the compiled network is %.0f dB from the other and not used", near)
            return plain
        _log.info("the network is compiled for %s, %.0f dB from the other", tuple(shown.shape), near)
        return run
