"""Reading and writing of safetensors files, one tensor at a time and in one fixed order.

The layout is that of https://github.com/huggingface/safetensors#format: eight bytes of header length, little
endian, a JSON header, then the tensors' bytes without gaps. Tensors are sorted by falling element size (which keeps
every tensor aligned), then by name; the header has only names, types, shapes and offsets; half precision is widened to
fp32, which changes no value. So equal tensors give an equal file, byte for byte, on every machine.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import WeightsError

MAX_BYTES = 4 << 30
"""Largest accepted file. No known generator is larger than 350 MB; past 4 GiB a file is hostile or a mistake."""
MAX_TENSORS = 50_000
_MAX_HEADER = 16 << 20
_MAX_DIMENSIONS = 8

_STORED = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",  # numpy has no bfloat16: it is the upper half of an fp32
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
}
_WIDENED = {"F16": "F32", "BF16": "F32"}


def item_size(kind: str) -> int:
    """Return the bytes of one element of a stored `kind` (safetensors' names: F32, F16, BF16, I64, ...)."""
    return np.dtype(_STORED[kind]).itemsize


def elements(kind: str, data: bytes) -> NDArray[Any]:
    """Return the values in `data` as a flat array; F16 and BF16 become fp32, which represents all their values exactly."""
    values: NDArray[Any] = np.frombuffer(data, dtype=_STORED[kind])
    if kind == "F16":
        return values.astype("<f4")
    if kind == "BF16":
        return (values.astype("<u4") << 16).view("<f4")
    return values


@dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint: its stored kind, its shape, and a function that reads it (widened, in that shape)."""

    kind: str
    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]

    @property
    def written(self) -> str:
        """The kind in the converted file."""
        return _WIDENED.get(self.kind, self.kind)

    @property
    def size(self) -> int:
        """The bytes in the converted file."""
        return math.prod(self.shape) * item_size(self.written)


def from_array(values: NDArray[Any]) -> Tensor:
    """Wrap an fp32 array as a tensor."""
    return Tensor("F32", values.shape, lambda: values)


def check_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return `shape` if a tensor may have it; raise WeightsError otherwise. Shapes come from untrusted files."""
    if (
        len(shape) > _MAX_DIMENSIONS
        or any(type(n) is not int or n < 0 for n in shape)
        or math.prod(shape) > MAX_BYTES // 4
    ):
        raise WeightsError(f"tensor {name[:80]!r} claims shape {str(shape)[:80]}, which no network has; do not use it.")
    return shape


def write(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write `tensors` to `path`, sync the file to disk, and return its SHA-256.

    One tensor is in memory at a time. Raises WeightsError for values that are not finite, for too many tensors, or for
    more than MAX_BYTES of them.
    """
    order = sorted(tensors, key=lambda name: (-item_size(tensors[name].written), name))
    if not order or len(order) > MAX_TENSORS:
        raise WeightsError(f"{path.name} would hold {len(order)} tensors; a network has 1 to {MAX_TENSORS}.")
    header: dict[str, object] = {}
    at = 0
    for name in order:
        tensor = tensors[name]
        check_shape(name, tensor.shape)
        header[name] = {"dtype": tensor.written, "shape": tensor.shape, "data_offsets": (at, at + tensor.size)}
        at += tensor.size
    if at > MAX_BYTES:
        raise WeightsError(f"{path.name} would hold {at} bytes of weights; at most {MAX_BYTES} are accepted.")
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with path.open("wb") as out:
        for part in (struct.pack("<Q", len(text)), text):
            digest.update(part)
            out.write(part)
        for name in order:
            data = _bytes(name, tensors[name])
            digest.update(data)
            out.write(data)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def _bytes(name: str, tensor: Tensor) -> bytes:
    values = tensor.read()
    if values.shape != tensor.shape:
        raise WeightsError(
            f"tensor {name[:80]!r} has shape {values.shape}, but its header announces {tensor.shape}; get the file again."
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise WeightsError(f"tensor {name[:80]!r} has values that are not finite; the file is damaged, get it again.")
    return np.ascontiguousarray(values, dtype=_STORED[tensor.written]).tobytes()


def read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file; each is read on demand.

    Raises WeightsError unless the header describes exactly the bytes that follow it.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
        if not 2 <= length <= min(_MAX_HEADER, size - 8):
            raise WeightsError(
                f"{path.name} is not a safetensors file: its header length is {length} of {size} bytes; choose another file."
            )
        try:
            header = json.loads(stream.read(length))
            entries = {
                str(name): (str(e["dtype"]), tuple(e["shape"]), int(e["data_offsets"][0]), int(e["data_offsets"][1]))
                for name, e in header.items()
                if name != "__metadata__"
            }
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise WeightsError(
                f"{path.name} is not a safetensors file: its header cannot be read ({error}); choose another file."
            ) from error
    at = 0
    for name, (kind, shape, first, last) in sorted(entries.items(), key=lambda item: item[1][2:]):
        check_shape(name, shape)
        if kind not in _STORED:
            raise WeightsError(
                f"{path.name} holds {name[:80]!r} as {kind[:20]}, which is not supported; convert to F32."
            )
        if first != at or last - first != math.prod(shape) * item_size(kind):
            raise WeightsError(
                f"{path.name} is damaged: {name[:80]!r} is not at the offset in its header; get it again."
            )
        at = last
    if 8 + length + at != size:
        raise WeightsError(f"{path.name} has {size} bytes, but its header describes {8 + length + at}; get it again.")

    def reader(kind: str, shape: tuple[int, ...], offset: int, count: int) -> Callable[[], NDArray[Any]]:
        def load() -> NDArray[Any]:
            with path.open("rb") as stream:
                stream.seek(offset)
                return elements(kind, stream.read(count)).reshape(shape)

        return load

    return {
        name: Tensor(kind, shape, reader(kind, shape, 8 + length + first, last - first))
        for name, (kind, shape, first, last) in entries.items()
    }
