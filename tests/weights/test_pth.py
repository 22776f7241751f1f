from __future__ import annotations

import argparse
import collections
import contextlib
import io
import os
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from contract.errors import WeightsError
from weights import convert, pth
from weights.catalog import Entry
from workers.generators import compat

COMMUNITY = Entry(name="m", role="generator", architecture="spandrel", licence="MIT")


def _save(path: Path, value: object, legacy: bool) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return path


def _arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    return {name: tensor.read() for name, tensor in pth.read(path).items()}


@pytest.fixture(params=[False, True], ids=["zip", "legacy"])
def legacy(request: pytest.FixtureRequest) -> bool:
    """Both layouts that torch.save has written; GFPGAN came in the older one."""
    return bool(request.param)


def test_every_kind_of_tensor_is_read_as_torch_reads_it(legacy: bool, tmp_path: Path) -> None:
    """All types, views with strides and offsets, shared storages, scalars, empty tensors and parameters."""
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = {
        "fp32": base,
        "transposed": base.t(),
        "part": base[1:3, 2:5],
        "expanded": torch.tensor([1.5]).expand(3),
        "fp64": torch.rand(3, dtype=torch.float64),
        "i64": torch.tensor(7),
        "i32": torch.arange(3, dtype=torch.int32),
        "i16": torch.arange(3, dtype=torch.int16),
        "i8": torch.arange(3, dtype=torch.int8),
        "u8": torch.arange(3, dtype=torch.uint8),
        "bool": torch.tensor([True, False]),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(torch.rand(2, 2)),
    }
    found = _arrays(_save(tmp_path / "m.pth", state, legacy))
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert found[name].dtype == tensor.detach().numpy().dtype
        np.testing.assert_array_equal(found[name], tensor.detach().numpy())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_without_loss(dtype: torch.dtype, legacy: bool, tmp_path: Path) -> None:
    """Every finite fp16 and bf16 number, denormals included, becomes the fp32 number of the same value."""
    patterns = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16).view(dtype)
    finite = patterns[patterns.isfinite()]
    found = _arrays(_save(tmp_path / "m.pth", {"a": finite}, legacy))
    np.testing.assert_array_equal(found["a"], finite.float().numpy())


@pytest.mark.parametrize("wrapper", ["params_ema", "params", "state_dict"])
def test_the_state_dict_is_found_in_its_wrapper(wrapper: str, legacy: bool, tmp_path: Path) -> None:
    """Weights are found under trainers' wrappers and DataParallel's prefix; averaged ones win, optimiser state is ignored."""
    state = collections.OrderedDict({"module.a.weight": torch.rand(2)})
    value = {"iter": 5, "optimizer": {"lr": [0.1], "x": torch.rand(1)}, "params": {"b": torch.rand(1)}, wrapper: state}
    if wrapper == "state_dict":
        del value["params"]
    assert list(_arrays(_save(tmp_path / "m.pth", value, legacy))) == ["a.weight"]


def test_conversion_is_deterministic(legacy: bool, tmp_path: Path) -> None:
    """One network saved in either layout, in any order of keys, becomes one file, byte for byte."""
    generator = torch.Generator().manual_seed(1)
    state = {name: torch.rand(3, 4, generator=generator) for name in "cab"} | {"n": torch.tensor(3)}
    reordered = dict(reversed(state.items()))
    first = convert.convert(_save(tmp_path / "a.pth", state, legacy), ".pth", COMMUNITY, tmp_path / "a")
    second = convert.convert(_save(tmp_path / "b.pth", reordered, not legacy), ".pth", COMMUNITY, tmp_path / "b")
    assert first == second
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_face_restorer_survives_conversion(legacy: bool, tmp_path: Path) -> None:
    """A random GFPGANv1Clean of the released structure, saved as upstream does, loads back strictly and equal."""
    small: dict[str, Any] = {
        "out_size": 32,
        "num_style_feat": 32,
        "channel_multiplier": 1,
        "num_mlp": 2,
        "narrow": 0.25,
    }
    options = {"fix_decoder": False, "input_is_latent": True, "different_w": True, "sft_half": True}
    make = compat.load("gfpgan.archs.gfpganv1_clean_arch").GFPGANv1Clean
    network = make(**small, **options)
    path = _save(tmp_path / "GFPGANv1.4.pth", {"params_ema": network.state_dict()}, legacy)
    entry = Entry(name="g", role="face", architecture="gfpgan", licence="MIT")
    convert.convert(path, ".pth", entry, tmp_path / "out.safetensors")
    other = make(**small, **options)
    other.load_state_dict(load_file(tmp_path / "out.safetensors"), strict=True)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_a_generator_of_another_shape_is_refused(legacy: bool, tmp_path: Path) -> None:
    """An SRVGG checkpoint of another shape than the catalog's is refused with the first wrong name."""
    make = compat.load("basicsr.archs.srvgg_arch").SRVGGNetCompact
    options: dict[str, Any] = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "upscale": 2, "act_type": "prelu"}
    entry = Entry(
        name="s", role="generator", architecture="srvgg", licence="MIT", parameters={**options, "num_conv": 2}
    )
    good = _save(tmp_path / "good.pth", {"params": make(num_conv=2, **options).state_dict()}, legacy)
    convert.convert(good, ".pth", entry, tmp_path / "out")
    long = _save(tmp_path / "long.pth", {"params": make(num_conv=3, **options).state_dict()}, legacy)
    with pytest.raises(WeightsError, match=r"long\.pth is not a srvgg with .* it has the unexpected 'body\.7\.weight'"):
        convert.convert(long, ".pth", entry, tmp_path / "out")


class _Runs:
    """An object that pickles as a call."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call, self.arguments


def _hostile(tmp_path: Path) -> dict[str, tuple[object, str]]:
    mark = f"touch {tmp_path / 'ran'}"
    return {
        "system": (_Runs(os.system, mark), r"posix\.system|nt\.system"),
        "eval": (_Runs(eval, f"open({str(tmp_path / 'ran')!r}, 'w')"), r"builtin(s|__)\.eval"),
        "getattr": (_Runs(getattr, {}, "__class__"), r"builtin(s|__)\.getattr"),
        "nested": ({"params": collections.OrderedDict(a=torch.rand(1), b=_Runs(os.system, mark))}, r"posix\.system"),
        "module": (torch.nn.Linear(1, 1), r"torch\.nn\.modules\.linear\.Linear"),
        "numpy": (_Runs(np.zeros, 3), r"numpy"),
    }


def test_what_training_leaves_beside_tensors_is_passed_over(legacy: bool, tmp_path: Path) -> None:
    """NumPy scalars, an optimiser's state and settings of a Lightning-like checkpoint are neither run nor called unsafe; prefixes go."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    adam = torch.optim.Adam(network.parameters())
    network(torch.rand(1, 3, 8, 8)).sum().backward()
    adam.step()
    checkpoint = {
        "epoch": 3,
        "best": np.float64(0.5),
        "hyper_parameters": argparse.Namespace(rate=np.float32(1e-4), path=pathlib.PurePosixPath("a")),
        "optimizer_states": [adam.state_dict()],
        "callbacks": {"when": collections.defaultdict(list), "kinds": {1, 2}},
        "state_dict": {f"generator.{name}": tensor for name, tensor in network.state_dict().items()},
    }
    found = pth.read(_save(tmp_path / "last.ckpt", checkpoint, legacy))
    assert sorted(found) == ["0.bias", "0.weight"]
    np.testing.assert_array_equal(found["0.weight"].read(), network[0].weight.detach().numpy())


@pytest.mark.parametrize("case", ["system", "eval", "getattr", "nested", "module", "numpy"])
def test_a_malicious_pickle_is_refused_and_does_not_run(case: str, legacy: bool, tmp_path: Path) -> None:
    """Any global in a checkpoint beyond tensors is refused by name, and its code does not run."""
    value, match = _hostile(tmp_path)[case]
    path = _save(tmp_path / "evil.pth", value, legacy)
    with pytest.raises(WeightsError, match=rf"evil\.pth is an unsafe pickle: it refers to .*({match})"):
        pth.read(path)
    assert not (tmp_path / "ran").exists()


def _zip_with(path: Path, data: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
    return path


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02ls\x85R.", r"it refers to posix\.system"),
        (b"\x80\x02(S'ls'\nios\nsystem\n.", "its instruction . is STRING"),
        (b"\x80\x02(X\x02\x00\x00\x00lsios\nsystem\n.", "its instruction . is INST"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "requests 2147483647 memory slots"),
        (b"\x80\x05\x96\x00\x00\x00\x00\x00\x01\x00\x00.", "bytes in a bytearray8|BYTEARRAY8"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb.", "cannot be|can be read"),
        (b"\x80\x02]q\x00h\x00a.", "has no state dict"),
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "not a storage"),
        (b"\x80\x02K\x01", "can be read"),
        (b"", "can be read"),
        (b"\x80\x02).", "has no state dict"),
    ],
)
def test_a_hand_made_pickle_is_refused(data: bytes, match: str, tmp_path: Path) -> None:
    """Other opcodes, huge memos, state for the stand-ins, cycles and truncated pickles are each refused in one sentence."""
    with pytest.raises(WeightsError, match=match):
        pth.read(_zip_with(tmp_path / "m.pth", data))


def test_a_compressed_checkpoint_is_refused(tmp_path: Path) -> None:
    """A compressed checkpoint is refused: torch.save never compresses, and a small file could expand to a huge one."""
    with pytest.raises(WeightsError, match=r"compresses 'archive/data\.pkl'"):
        pth.read(_zip_with(tmp_path / "m.pth", b"\0" * 100_000, zipfile.ZIP_DEFLATED))


def _tensor_pickle(shape: tuple[int, ...], stride: tuple[int, ...], count: int, offset: int = 0) -> bytes:
    class Rebuilt:
        def __reduce__(self) -> Any:
            storage = _Persistent(("storage", torch.FloatStorage, "0", "cpu", count))
            return torch._utils._rebuild_tensor_v2, (storage, offset, shape, stride, False, collections.OrderedDict())

    out = io.BytesIO()
    pickler = pickle.Pickler(out, protocol=2)
    pickler.persistent_id = lambda value: value.pid if isinstance(value, _Persistent) else None  # type: ignore[method-assign]
    pickler.dump({"a": Rebuilt()})
    return out.getvalue()


class _Persistent:
    def __init__(self, pid: tuple[object, ...]) -> None:
        self.pid = pid


@pytest.mark.parametrize(
    ("shape", "stride", "count", "offset", "match"),
    [
        ((4,), (1,), 3, 0, "reaches past its storage"),
        ((4,), (1,), 4, 1, "reaches past its storage"),
        ((2,), (-1,), 4, 0, "in a way that torch.save does not"),
        ((2,), (1,), 4, -1, "in a way that torch.save does not"),
        ((2, 2), (1,), 4, 0, "in a way that torch.save does not"),
        ((1 << 40,), (0,), 4, 0, "which no network has"),
        ((-3,), (1,), 4, 0, "which no network has"),
        ((1,) * 20, (1,) * 20, 4, 0, "which no network has"),
        ((4,), (1,), 1 << 60, 0, "is not a storage"),
    ],
)
def test_a_tensor_larger_than_its_storage_is_refused(
    shape: tuple[int, ...], stride: tuple[int, ...], count: int, offset: int, match: str, tmp_path: Path
) -> None:
    """Views past the end, negative strides and giant shapes without data are refused before any byte is read."""
    path = _zip_with(tmp_path / "m.pth", _tensor_pickle(shape, stride, count, offset))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", struct.pack("<4f", 1, 2, 3, 4))
    with pytest.raises(WeightsError, match=match):
        pth.read(path)


def test_a_storage_shorter_than_it_says_is_refused(tmp_path: Path) -> None:
    """A member with fewer bytes than its tensor needs is refused."""
    path = _zip_with(tmp_path / "m.pth", _tensor_pickle((4,), (1,), 4))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", b"\0" * 15)
    with pytest.raises(WeightsError, match="has 15 bytes of 4 F32 numbers"):
        _arrays(path)


def test_values_that_are_not_finite_are_refused(legacy: bool, tmp_path: Path) -> None:
    """A NaN in the weights, which would give black frames, is refused by the tensor's name."""
    path = _save(tmp_path / "m.pth", {"a": torch.tensor([1.0, float("nan")])}, legacy)
    with pytest.raises(WeightsError, match="tensor 'a' has values that are not finite"):
        convert.convert(path, ".pth", COMMUNITY, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02K\x01.", b"\x1f\x8b" + b"\0" * 100, b"PK\x03\x04"])
def test_other_files_are_no_checkpoints(content: bytes, tmp_path: Path) -> None:
    """An empty file, text, another pickle and a tar of the oldest torch are each refused in one sentence with advice."""
    path = tmp_path / "m.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"m\.pth is not a PyTorch checkpoint"):
        pth.read(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_anywhere_raises_no_other_error(data: st.DataObject, legacy: bool, tmp_path: Path) -> None:
    """A checkpoint with changed or missing bytes gives a state dict or a WeightsError, and no other exception."""
    path = tmp_path / "m.pth"
    _save(path, {"params": {"a.weight": torch.ones(2, 3), "b": torch.ones(4)}}, legacy)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    with contextlib.suppress(WeightsError):
        _arrays(path)
