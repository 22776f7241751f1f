"""Networks that run in PyTorch: on CUDA, on Apple's MPS, and on CPUs.

On CUDA a network runs in fp16, channels last. Shapes that recur (every frame of a film) are recorded as
CUDA graphs, so that the hundreds of kernels of a network cost one launch; shapes that recur often are compiled first.
On the CPU the tests run the same code with a recorder that records nothing.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

import torch

from contract.errors import UsageError
from workers.generators.cuda_graphs import Fuser, Recorder, Run, record_cuda_graph
from workers.generators.memory import memory_errors
from workers.generators.network import go_on

_log = logging.getLogger(__name__)

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_KEPT = 3
"""Recorded shapes kept: each holds the memory of one run of the network. A film's frames come in batches of 1, 2 and 4."""
_REMEMBERED = 8
"""Shapes remembered as seen; images of many sizes push each other out."""
OFTEN = 64
"""Runs of a shape after which it is compiled. Compiling takes about ten seconds: a film's frames repay them, images rarely."""
_SAFE_DB = 50.0
"""PSNR in dB that the compiled network's result must reach against the uncompiled network's."""


@dataclass
class _Recorded:
    """The recorded network for one shape, and whether its compilation was tried."""

    run: Run
    compiled: bool = False


def pick_device(wanted: str) -> torch.device:
    """Return the device named by settings.device; ``auto`` is CUDA, else MPS, else CPU.

    Raises UsageError if the device cannot be used.
    """
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
    """A torch module on `device` in `precision`, channels last.

    `recorder` defaults to CUDA graphs on CUDA and to none elsewhere; without a recorder, `fuser` is not used.
    """

    backend = "torch"

    def __init__(
        self,
        module: torch.nn.Module,
        device: torch.device,
        precision: str,
        recorder: Recorder | None = None,
        fuser: Fuser | None = None,
    ) -> None:
        self.device = device
        self.precision = precision
        self.checkpoint: Callable[[], None] = go_on
        self._dtype = _DTYPES[precision]
        module.eval().requires_grad_(False)
        self._module = module.to(device, self._dtype).to(memory_format=torch.channels_last)
        self._recorder = recorder
        self._fuser = fuser
        if device.type == "cuda":
            self._recorder = recorder or record_cuda_graph
            torch.backends.cudnn.benchmark = True  # shapes recur, so trying all algorithms once pays
            # By default fp32 convolutions are computed in TF32, whose ten-bit mantissa is no better than fp16's.
            torch.backends.cudnn.allow_tf32 = False
        elif device.type == "cpu":  # elsewhere a frame is short, and a recorded or compiled network runs no hooks
            for layer in self._module.modules():
                if isinstance(layer, torch.nn.Conv2d):
                    layer.register_forward_pre_hook(lambda *_: self.checkpoint())
        self._seen: deque[tuple[int, ...]] = deque(maxlen=_REMEMBERED)
        self._runs: OrderedDict[tuple[int, ...], int] = OrderedDict()
        self._recorded: OrderedDict[tuple[int, ...], _Recorded] = OrderedDict()
        self._fused: Run | None = None

    @torch.no_grad()
    def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
        """Enlarge `rgb`; raise MemoryError when the device's memory is short."""
        with memory_errors(self._recorded.clear):
            inputs = rgb.to(self._dtype).contiguous(memory_format=torch.channels_last)
            output = self._runner(inputs)(inputs)
            result = output.float().contiguous()
            # A recorded network writes every result to the same memory, so the caller gets a copy.
            shared = self._recorder is not None and result.data_ptr() == output.data_ptr()
            return result.clone() if shared else result

    def _runner(self, inputs: torch.Tensor) -> Run:
        """Return the network, or its recording for this shape.

        A shape is recorded when it is among the last few that came, and recorded again from the compiled network after OFTEN runs.
        Runs are counted on when a recording has had to make room for another.
        """
        shape = tuple(inputs.shape)
        if self._recorder is None:
            return self._module
        if shape not in self._recorded:
            if shape not in self._seen:
                self._seen.append(shape)
                return self._module
            while len(self._recorded) >= _KEPT:
                self._recorded.popitem(last=False)
            self._recorded[shape] = _Recorded(self._recorder(self._module, inputs))
        self._recorded.move_to_end(shape)
        record = self._recorded[shape]
        if not record.compiled and self._fuser is not None and self._counted(shape) >= OFTEN:
            record.compiled = True
            record.run = self._compiled(self._fuser, self._recorder, record.run, inputs)
        return record.run

    def _counted(self, shape: tuple[int, ...]) -> int:
        """Count one more run of a recorded shape; return how many there were."""
        self._runs[shape] = self._runs.pop(shape, 0) + 1
        while len(self._runs) > _REMEMBERED * _KEPT:
            self._runs.popitem(last=False)
        return self._runs[shape]

    def _compiled(self, fuser: Fuser, recorder: Recorder, plain: Run, inputs: torch.Tensor) -> Run:
        """Record the compiled network for `inputs`'s shape.

        Return `plain` when compiling fails or the compiled network's result differs too much.
        """
        before = plain(inputs).float().clone()
        try:
            self._fused = self._fused or fuser(self._module)
            run = recorder(self._fused, inputs)
            off = float((run(inputs).float() - before).square().mean())
        except Exception as error:  # compilers fail in many ways, and the network runs without one
            self._fuser = None
            _log.warning("the network cannot be compiled and runs slower: %s", str(error).splitlines()[0])
            return plain
        near = -10 * math.log10(off) if off else math.inf
        if not near >= _SAFE_DB:
            self._fuser = None
            _log.warning("the compiled network is not used: its result has a PSNR of only %.0f dB", near)
            return plain
        _log.info("the network is compiled for %s, PSNR %.0f dB against the uncompiled one", tuple(inputs.shape), near)
        return run
