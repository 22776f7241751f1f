"""Weights from ncnn's ``.param`` (the graph, as text) and ``.bin`` (the numbers) files.

Format: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure. A Convolution stores a four-byte tag for the
type of its weights, the weights (padded to four bytes), then the bias in fp32; a PReLU stores its slopes in fp32.
The layers are in the order of basicsr's state dicts.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import WeightsError
from weights.architectures import Parameters, state_shapes
from weights.tensors import MAX_BYTES, Tensor, from_array

_MAGIC = "7767517"
_MAX_PARAM = 4 << 20
_TAG_FP16 = 0x01306B47
_TAG_FP32 = 0
# Layers without numbers, of those that exported generators use.
_BARE = {"Input", "Split", "Concat", "Eltwise", "BinaryOp", "Interp", "PixelShuffle"}


class _Numbers:
    """The ``.bin`` file, read from start to end."""

    def __init__(self, path: Path) -> None:
        if path.stat().st_size > MAX_BYTES:
            raise WeightsError(f"{path.name} has {path.stat().st_size} bytes; at most {MAX_BYTES} are accepted.")
        self._data = path.read_bytes()
        self._at = 0
        self._name = path.name

    def take(self, count: int, dtype: str) -> NDArray[Any]:
        stop = self._at + count * np.dtype(dtype).itemsize
        if stop > len(self._data):
            raise WeightsError(
                f"{self._name} ends after {len(self._data)} bytes, but its graph needs {stop} or more; get it again."
            )
        values: NDArray[Any] = np.frombuffer(self._data[self._at : stop], dtype=dtype)
        self._at = stop
        return values

    def weights(self, count: int) -> NDArray[Any]:
        """Read `count` weights and the tag before them; return the weights as fp32."""
        tag = int(self.take(1, "<u4")[0])
        if tag == _TAG_FP32:
            return self.take(count, "<f4")
        if tag == _TAG_FP16:
            values = self.take(count, "<f2").astype("<f4")
            self.take(-2 * count % 4, "|u1")
            return values
        raise WeightsError(
            f"{self._name} stores weights of type {tag:#010x}, which is neither fp16 nor fp32; "
            "export the model without quantisation."
        )

    def finish(self) -> None:
        if self._at != len(self._data):
            raise WeightsError(
                f"{self._name} has {len(self._data)} bytes, but its graph describes {self._at}; "
                "the .param and .bin files do not belong together."
            )


def read(graph: Path, numbers: Path, architecture: str, parameters: Parameters) -> dict[str, Tensor]:
    """Read the state dict in `numbers`, with the names and shapes of basicsr's class for `architecture`; fp16 becomes fp32.

    Raises WeightsError for a graph with unknown layers, for a file that is truncated or too long, and for
    a network that is not of that architecture.
    """
    shapes = state_shapes(architecture, parameters)
    if shapes is None:
        raise WeightsError(
            f"{numbers.name} is an ncnn file, but {architecture} can only be read from a .pth or .safetensors file; use one."
        )
    parts = _parts(graph, numbers)
    found = [part.size for part in parts]
    wanted = [math.prod(shape) for shape in shapes.values()]
    if found != wanted:
        raise WeightsError(
            f"{numbers.name} holds {len(found)} tensors with {sum(found)} numbers, but {architecture} "
            f"with {dict(parameters)} has {len(wanted)} with {sum(wanted)}; choose the model's own file."
        )
    return {name: from_array(part.reshape(shape)) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}


def _parts(graph: Path, numbers: Path) -> list[NDArray[Any]]:
    if graph.stat().st_size > _MAX_PARAM:
        raise WeightsError(f"{graph.name} has {graph.stat().st_size} bytes; an ncnn graph has at most {_MAX_PARAM}.")
    lines = graph.read_text(encoding="ascii", errors="replace").splitlines()
    if len(lines) < 3 or lines[0].strip() != _MAGIC:
        raise WeightsError(f"{graph.name} is not an ncnn graph: it does not start with {_MAGIC}.")
    stream = _Numbers(numbers)
    parts: list[NDArray[Any]] = []
    try:
        layers = int(lines[1].split()[0])
        if layers != len(lines) - 2:
            raise WeightsError(f"{graph.name} announces {layers} layers and has {len(lines) - 2}; get it again.")
        for line in lines[2:]:
            kind, _, inputs, outputs, *rest = line.split()
            options = dict(item.split("=", 1) for item in rest[int(inputs) + int(outputs) :])
            if kind == "Convolution":
                parts.append(stream.weights(_count(options["6"])))
                if int(options.get("5", "0")):
                    parts.append(stream.take(_count(options["0"]), "<f4"))
            elif kind == "PReLU":
                parts.append(stream.take(_count(options["0"]), "<f4"))
            elif kind not in _BARE:
                raise WeightsError(
                    f"{graph.name} has a layer {kind[:40]!r} that Respool cannot convert; use a .pth file."
                )
    except (ValueError, KeyError, IndexError) as error:
        raise WeightsError(f"{graph.name} is not an ncnn graph that can be read: {error}.") from error
    stream.finish()
    return parts


def _count(text: str) -> int:
    count = int(text)
    if not 0 < count <= MAX_BYTES // 4:
        raise ValueError(f"a layer claims {count} numbers")
    return count
