"""From the file as it was released to the file that workers load."""

from __future__ import annotations

import shutil
from pathlib import Path

from contract.errors import WeightsError
from stores.storage import file_sha256
from weights import ncnn, pth, tensors
from weights.architectures import check_state
from weights.catalog import Entry
from weights.tensors import Tensor

VERSION = 1
"""Raised when the bytes that conversion makes of a file change."""


def convert(original: Path, kind: str, entry: Entry, target: Path, graph: Path | None = None) -> str:
    """Write `original`, a file of `kind` (``.pth``, ``.bin``, ``.safetensors`` or ``.onnx``), to `target`; its SHA-256.

    The result keeps the names that the network's own class uses and holds fp32 where the original has fp16, which
    loses nothing. Equal originals give equal bytes. Raises WeightsError when the file is not that network or not safe.
    """
    if entry.suffix == "onnx" or kind == ".onnx":
        if kind != f".{entry.suffix}":
            raise WeightsError(f"{entry.name} needs a .{entry.suffix} file, not {kind}.")
        shutil.copyfile(original, target)
        return file_sha256(target)
    state = read(original, kind, entry, graph)
    check_state(entry.architecture, entry.parameters, state, original.name)
    return tensors.write(target, state)


def read(original: Path, kind: str, entry: Entry, graph: Path | None) -> dict[str, Tensor]:
    """The state dict in `original`, whatever its format."""
    if kind == ".bin":
        if graph is None:
            raise WeightsError(f"{original.name} is an ncnn file and needs its .param file beside it.")
        return ncnn.read(graph, original, entry.architecture, entry.parameters)
    if kind == ".safetensors":
        return tensors.read(original)
    if kind in (".pth", ".pt", ".ckpt"):
        return pth.read(original)
    raise WeightsError(f"{original.name} is a {kind or 'nameless'} file; expected .pth, .safetensors, .bin or .onnx.")
