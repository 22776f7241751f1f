"""Networks that run in OpenVINO on CPUs: in bf16 where the processor supports it, else in fp32.

Graphs are built directly from the weights, which takes a tenth of the time that tracing a torch module does.
Compiled networks are cached on disk, named by everything that they depend on: weights, shape, precision, version and processor.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import platform
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import openvino
import torch

from stores.atomic_files import write_atomically
from stores.processor import usable_cores
from workers.generators.network import go_on

_KEPT = 4
"""Compiled shapes held in memory at once: the tile sizes of one frame (inner, last row, last column, corner)."""
_KEPT_ON_DISK = 24
"""Compiled networks kept on disk; the largest, RealESRGAN_x4plus, takes 65 MB."""
_LOOK_S = 0.2
"""Seconds between two checkpoints during an inference."""
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}

_CHECK = 16
"""Bytes of the checksum that precedes a compiled network on disk."""

Graph = Callable[[int, int], openvino.Model]
"""Builds the network for a height and width, -1 meaning any; input and output are float32, 1 x 3 x H x W."""


def _check(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_CHECK).digest()


def precisions() -> tuple[str, ...]:
    """Return the precisions that this processor computes in natively, fastest first; empty where OpenVINO finds no CPU."""
    try:
        able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except RuntimeError:
        return ()
    return tuple(name for word, name in (("BF16", "bf16"), ("FP32", "fp32")) if word in able)


class OpenvinoNetwork:
    """A network compiled for this machine's CPU.

    `identity` names the weights and how they are mixed; `threads` 0 means all cores; compiled networks are kept below `cache`.
    `any_shape` compiles one network for all sizes instead of one for each.
    """

    backend = "openvino"
    device = torch.device("cpu")

    def __init__(
        self, graph: Graph, scale: int, identity: str, precision: str, threads: int, cache: Path, any_shape: bool
    ) -> None:
        self.precision = precision
        self.checkpoint: Callable[[], None] = go_on
        self._graph = graph
        self._scale = scale
        self._identity = identity
        self._cache = cache / "compiled"
        self._any_shape = any_shape
        self._core = openvino.Core()
        self._options = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads or usable_cores(),
        }
        self._runner = ThreadPoolExecutor(1, thread_name_prefix="openvino")
        self._requests: OrderedDict[tuple[int, int], openvino.InferRequest] = OrderedDict()

    def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
        """Enlarge each frame of `rgb`; raise MemoryError when memory is short."""
        try:
            results = [self._infer(rgb[n : n + 1].contiguous()) for n in range(rgb.shape[0])]
            return results[0] if len(results) == 1 else torch.cat(results)
        except RuntimeError as error:
            # OpenVINO and oneDNN have no exception class for a failed allocation.
            if any(words in str(error) for words in ("bad_alloc", "allocate", "out of memory")):
                self._requests.clear()
                raise MemoryError(str(error)) from error
            raise

    def _infer(self, rgb: torch.Tensor) -> torch.Tensor:
        height, width = rgb.shape[-2:]
        request = self._request(height, width)
        # The request writes into the returned tensor: its own output memory is used again by the next call.
        result = torch.empty((1, 3, height * self._scale, width * self._scale))
        request.set_output_tensor(openvino.Tensor(result.numpy(), shared_memory=True))
        inference = self._runner.submit(
            request.infer, [openvino.Tensor(rgb.numpy(), shared_memory=True)], share_inputs=True
        )
        try:
            while not wait([inference], _LOOK_S).done:
                self.checkpoint()
        except BaseException:
            request.cancel()  # it ends between two layers
            wait([inference])
            raise
        inference.result()
        return result

    def _request(self, height: int, width: int) -> openvino.InferRequest:
        shape = (-1, -1) if self._any_shape else (height, width)
        if shape in self._requests:
            self._requests.move_to_end(shape)
        else:
            while len(self._requests) >= _KEPT:
                self._requests.popitem(last=False)
            self._requests[shape] = self._compiled(shape).create_infer_request()
        return self._requests[shape]

    def _compiled(self, shape: tuple[int, int]) -> openvino.CompiledModel:
        path = self._cache / f"{self._name(shape)}.blob"
        with contextlib.suppress(OSError, RuntimeError):  # missing, unreadable or of another build: compile again
            data = path.read_bytes()
            # OpenVINO itself does not detect every damaged byte.
            if data[:_CHECK] == _check(data[_CHECK:]):
                compiled = self._core.import_model(io.BytesIO(data[_CHECK:]), "CPU", self._options)
                os.utime(path)
                return compiled
        compiled = self._core.compile_model(self._graph(*shape), "CPU", self._options)
        with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
            self._keep(path, compiled.export_model().getvalue())
        return compiled

    def _name(self, shape: tuple[int, int]) -> str:
        machine = self._core.get_property("CPU", "FULL_DEVICE_NAME") + platform.machine()
        parts = (self._identity, openvino.get_version(), machine, *map(str, self._options.values()))
        return f"{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:24]}-{shape[0]}x{shape[1]}"

    def _keep(self, path: Path, blob: bytes) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _check(blob) + blob)
        kept = sorted(self._cache.glob("*.blob"), key=lambda p: p.stat().st_mtime, reverse=True)
        for old in kept[_KEPT_ON_DISK:]:
            old.unlink(missing_ok=True)
