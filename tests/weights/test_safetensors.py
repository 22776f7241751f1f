from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from contract.errors import WeightsError
from weights import tensors

GOOD = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def _file(path: Path, header: object, data: bytes = b"\0" * 8, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def test_files_of_the_library_are_read(tmp_path: Path) -> None:
    """A file of the safetensors library, with metadata and half precision, is read with the same values."""
    state = {
        "half": torch.rand(3, 2).half(),
        "brain": torch.rand(2).bfloat16(),
        "int": torch.tensor(5),
        "float": torch.rand(1, 2, 3),
    }
    save_file(state, tmp_path / "a.safetensors", metadata={"format": "pt"})
    found = tensors.read(tmp_path / "a.safetensors")
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        wide = tensor.float() if tensor.is_floating_point() else tensor
        np.testing.assert_array_equal(found[name].read(), wide.numpy())


def test_reading_and_writing_changes_nothing(tmp_path: Path) -> None:
    """Reading and writing a converted file again gives the same bytes: the form is canonical."""
    state = {name: tensors.from_array(np.arange(n, dtype="<f4")) for n, name in enumerate(("b", "a", "c"), start=1)}
    first = tensors.write(tmp_path / "first", state)
    assert tensors.write(tmp_path / "second", tensors.read(tmp_path / "first")) == first


@pytest.mark.parametrize(
    ("header", "data", "length", "match"),
    [
        (GOOD, b"\0" * 8, 1 << 60, "header length is"),
        (GOOD, b"\0" * 8, 0, "header length is"),
        (b"not json", b"", None, "header cannot be read"),
        (b"[" * 100_000, b"", None, "header cannot be read"),
        ([1], b"", None, "header cannot be read"),
        ({"a": 1}, b"", None, "header cannot be read"),
        (GOOD, b"\0" * 7, None, "get it again"),
        (GOOD, b"\0" * 9, None, "get it again"),
        ({"a": {**GOOD["a"], "shape": [3]}}, b"\0" * 8, None, "is not at the offset in its header"),
        ({"a": {**GOOD["a"], "data_offsets": [4, 12]}}, b"\0" * 12, None, "is not at the offset in its header"),
        ({"a": {**GOOD["a"], "shape": [-2]}}, b"\0" * 8, None, "which no network has"),
        ({"a": {**GOOD["a"], "shape": [1 << 62, 0]}}, b"", None, "is not at|get it again"),
        ({"a": {**GOOD["a"], "shape": ["2"]}}, b"\0" * 8, None, "which no network has"),
        ({"a": {**GOOD["a"], "dtype": "F8_E4M3"}}, b"\0" * 8, None, "as F8_E4M3, which is not supported"),
        ({**GOOD, "b": GOOD["a"]}, b"\0" * 8, None, "'b' is not at the offset in its header"),
    ],
)
def test_a_header_that_does_not_describe_the_file_is_refused(
    header: Any, data: bytes, length: int | None, match: str, tmp_path: Path
) -> None:
    """Gaps, overlaps, giant shapes, other types, and missing or extra bytes are refused."""
    with pytest.raises(WeightsError, match=match):
        tensors.read(_file(tmp_path / "a.safetensors", header, data, length))


def test_no_weights_are_no_file(tmp_path: Path) -> None:
    """An empty state dict is an error and not an empty file."""
    with pytest.raises(WeightsError, match="would hold 0 tensors"):
        tensors.write(tmp_path / "out", {})
