"""CUDA C++ of this room, compiled on the machine at hand by NVRTC, which comes with PyTorch for CUDA."""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

logger = logging.getLogger(__name__)

Argument = ctypes.Structure | ctypes.c_void_p | ctypes.c_int

ARCHITECTURE = "sm_90a"
"""Hopper, with instructions that later cards do not have."""
_HERE = Path(__file__).parent
_HEADER = "hopper.cuh"


@dataclass(frozen=True)
class CudaKernel:
    """A kernel on one card."""

    function: Any
    device: int
    _shared: dict[int, bool]

    def launch(self, blocks: int, threads: int, shared: int, arguments: Sequence[Argument]) -> None:
        """Launch on the current stream with `shared` bytes of dynamic shared memory; raise RuntimeError if the card refuses."""
        from cuda.bindings import driver

        if shared not in self._shared:
            most = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            _checked(driver.cuFuncSetAttribute(self.function, most, shared))
            self._shared[shared] = True
        pointers = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(a) for a in arguments))
        stream = torch.cuda.current_stream(self.device).cuda_stream
        _checked(
            driver.cuLaunchKernel(
                self.function, blocks, 1, 1, threads, 1, 1, shared, stream, ctypes.addressof(pointers), 0
            )
        )


@functools.cache
def compiled(file: str, name: str, constants: tuple[tuple[str, int], ...], device: int) -> CudaKernel:
    """Return the kernel `name` of `file` with preprocessor `constants` on card `device`, the current one; raise RuntimeError with the compiler's words."""
    from cuda.bindings import driver

    torch.cuda.current_stream(device).synchronize()  # so that the card has PyTorch's context
    module = _checked(driver.cuModuleLoadData(machine_code(file, constants)))
    return CudaKernel(_checked(driver.cuModuleGetFunction(module, name.encode())), device, {})


def machine_code(file: str, constants: Sequence[tuple[str, int]]) -> bytes:
    """Return the machine code of `file`, for which no card is needed; raise RuntimeError with the compiler's words.

    What the compiler remarks on code that it made, such as products that it serialized, is logged as a warning.
    """
    from cuda.bindings import nvrtc

    source, header = (_HERE / file).read_bytes(), (_HERE / _HEADER).read_bytes()
    program = _checked(nvrtc.nvrtcCreateProgram(source, file.encode(), 1, [header], [_HEADER.encode()]))
    try:
        options = [f"--gpu-architecture={ARCHITECTURE}", "--std=c++17", *(f"-D{k}={v}" for k, v in constants)]
        (error,) = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
        # Never bytes: NVRTC writes into them, and Python keeps one object for all of one value, such as every b" ".
        words = bytearray(_checked(nvrtc.nvrtcGetProgramLogSize(program)))
        _checked(nvrtc.nvrtcGetProgramLog(program, words))
        said = words.decode(errors="replace").strip("\0 \n")
        if error != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise RuntimeError(f"{file} cannot be compiled: {said}")
        if said:
            logger.warning("%s: %s", file, said)
        code = bytearray(_checked(nvrtc.nvrtcGetCUBINSize(program)))
        _checked(nvrtc.nvrtcGetCUBIN(program, code))
        return bytes(code)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _checked(answer: tuple[Any, ...]) -> Any:
    """Return what a call of CUDA's returned beside its status; raise RuntimeError unless that says success."""
    status, *rest = answer
    if status.value:
        raise RuntimeError(f"CUDA said {status.name}")
    return rest[0] if rest else None
