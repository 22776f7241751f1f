"""Conversion of released files to the files that workers load."""

from __future__ import annotations

import shutil
from pathlib import Path

from contract.errors import WeightsError
from stores.file_digest import file_sha256
from weights import ncnn, pth, tensors
from weights.architectures import check_state
from weights.catalog import Entry
from weights.tensors import Tensor

VERSION = 1
"""Increased whenever the conversion's output for the same file changes."""


def convert(original: Path, kind: str, entry: Entry, target: Path, graph: Path | None = None) -> str:
    """Convert `original`, a file of `kind` (``.pth``, ``.bin``, ``.safetensors`` or ``.onnx``), to `target`; return its SHA-256.

    The result has the tensor names of the network's class, and fp32 where the original has fp16, which is
    lossless. Equal originals give equal bytes. Raises WeightsError when the file is not that network or not safe.
    """
    if entry.suffix == "onnx" or kind == ".onnx":
        if kind != f".{entry.suffix}":
            raise WeightsError(
                f"{entry.name} needs a .{entry.suffix} file, but this is a {kind} file; name another one."
            )
        shutil.copyfile(original, target)
        return file_sha256(target)
    state = read(original, kind, entry, graph)
    check_state(entry.architecture, entry.parameters, state, original.name)
    return tensors.write(target, state)


def read(original: Path, kind: str, entry: Entry, graph: Path | None) -> dict[str, Tensor]:
    """Read the state dict in `original`, a file of `kind`."""
    if kind == ".bin":
        if graph is None:
            raise WeightsError(f"{original.name} is an ncnn file without its .param file; put that beside it.")
        return ncnn.read(graph, original, entry.architecture, entry.parameters)
    if kind == ".safetensors":
        return tensors.read(original)
    if kind in (".pth", ".pt", ".ckpt"):
        return pth.read(original)
    raise WeightsError(
        f"{original.name} is a file {'of type ' + kind if kind else 'without suffix'}; "
        "choose a .pth, .safetensors, .bin or .onnx file."
    )
