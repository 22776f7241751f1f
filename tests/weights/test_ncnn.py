from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from contract.errors import WeightsError
from weights import convert, tensors
from weights.catalog import Entry
from workers.generators import compat

COUNTS = {
    "RealESRGAN_x4plus": 16_697_987,
    "RealESRGAN_x4plus_anime_6B": 4_467_779,
    "realesr-animevideov3": 621_424,
}


def _network(entry: Entry) -> torch.nn.Module:
    module, name = {"rrdbnet": ("rrdbnet_arch", "RRDBNet"), "srvgg": ("srvgg_arch", "SRVGGNetCompact")}[
        entry.architecture
    ]
    network: torch.nn.Module = getattr(compat.load(f"basicsr.archs.{module}"), name)(**entry.parameters)
    return network


@pytest.mark.parametrize("name", COUNTS)
def test_a_generator_of_the_wheel_loads_into_basicsr(
    name: str, wheel_entries: dict[str, Entry], ncnn_files: dict[str, Path], tmp_path: Path
) -> None:
    """The converted file has the published parameter count, the pinned hash, and every key of basicsr's class."""
    entry, original, target = wheel_entries[name], ncnn_files[name], tmp_path / "out.safetensors"
    stored = convert.convert(original, ".bin", entry, target, original.with_suffix(".param"))
    assert stored == entry.sources[0].converted == hashlib.sha256(target.read_bytes()).hexdigest()
    state = load_file(target)
    assert {t.dtype for t in state.values()} == {torch.float32}
    assert sum(t.numel() for t in state.values()) == COUNTS[name]
    _network(entry).load_state_dict(state, strict=True)


def test_the_converted_video_network_enlarges_a_picture(
    wheel_entries: dict[str, Entry], ncnn_files: dict[str, Path], tmp_path: Path
) -> None:
    """A smooth ramp is enlarged four times with an error of at most 0.035, and with a larger one after two layers are swapped."""
    entry, original = wheel_entries["realesr-animevideov3"], ncnn_files["realesr-animevideov3"]
    target = tmp_path / "out.safetensors"
    convert.convert(original, ".bin", entry, target, original.with_suffix(".param"))
    network = _network(entry).eval()
    state = load_file(target)
    ramp = torch.linspace(0.2, 0.8, 48).expand(1, 3, 32, 48)
    expected = torch.nn.functional.interpolate(ramp, scale_factor=4, mode="bilinear")

    def error() -> float:
        network.load_state_dict(state)
        with torch.inference_mode():
            return float((network(ramp) - expected)[..., 16:-16, 16:-16].abs().max())

    assert error() < 0.05
    state["body.2.weight"], state["body.4.weight"] = state["body.4.weight"], state["body.2.weight"]
    assert error() > 0.1


def test_fp16_weights_keep_their_values_exactly(
    wheel_entries: dict[str, Entry], ncnn_files: dict[str, Path], tmp_path: Path
) -> None:
    """Every converted weight is still an fp16 number (biases and slopes are fp32 in the original too)."""
    entry, original = wheel_entries["realesr-animevideov3"], ncnn_files["realesr-animevideov3"]
    target = tmp_path / "out.safetensors"
    convert.convert(original, ".bin", entry, target, original.with_suffix(".param"))
    for weight in (t for t in load_file(target).values() if t.ndim == 4):
        assert torch.equal(weight, weight.half().float())


def _refused(entry: Entry, original: Path, graph: Path, tmp_path: Path, match: str) -> None:
    with pytest.raises(WeightsError, match=match):
        convert.convert(original, ".bin", entry, tmp_path / "out.safetensors", graph)


def test_a_truncated_ncnn_file_is_refused(
    wheel_entries: dict[str, Entry], ncnn_files: dict[str, Path], tmp_path: Path
) -> None:
    """A .bin that is too short, even by its last bias, or too long is refused."""
    entry, original = wheel_entries["realesr-animevideov3"], ncnn_files["realesr-animevideov3"]
    data, short = original.read_bytes(), tmp_path / "short.bin"
    for size in (0, 3, 1000, len(data) // 2, len(data) - 1):
        short.write_bytes(data[:size])
        _refused(entry, short, original.with_suffix(".param"), tmp_path, f"short.bin ends after {size} bytes")
    short.write_bytes(data + b"\0")
    _refused(entry, short, original.with_suffix(".param"), tmp_path, "do not belong together")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("7767517", "7767518", "does not start with 7767517"),
        ("PReLU  ", "Evil   ", "has a layer 'Evil'"),
        ("6=36864", "6=-4", "cannot|can be read"),
        ("6=36864", "6=99999999999999", "can be read"),
        ("6=36864", "6=x", "can be read"),
        ("40 41", "41 41", "announces 41 layers and has 40"),
    ],
)
def test_a_wrong_graph_is_refused(
    old: str, new: str, match: str, wheel_entries: dict[str, Entry], ncnn_files: dict[str, Path], tmp_path: Path
) -> None:
    """Graphs of other versions, with unknown layers or impossible counts are each refused in one sentence."""
    entry, original = wheel_entries["realesr-animevideov3"], ncnn_files["realesr-animevideov3"]
    graph = tmp_path / "graph.param"
    graph.write_text(original.with_suffix(".param").read_text().replace(old, new, 1))
    _refused(entry, original, graph, tmp_path, match)


def test_weights_of_another_network_are_refused(
    wheel_entries: dict[str, Entry], ncnn_files: dict[str, Path], tmp_path: Path
) -> None:
    """The 6-block network is refused where the 23-block one is expected."""
    original = ncnn_files["RealESRGAN_x4plus_anime_6B"]
    _refused(
        wheel_entries["RealESRGAN_x4plus"], original, original.with_suffix(".param"), tmp_path, "holds 192 tensors"
    )


def test_our_reader_and_the_safetensors_library_agree(
    wheel_entries: dict[str, Entry], ncnn_files: dict[str, Path], tmp_path: Path
) -> None:
    """The reference implementation and our reader return equal names, shapes and values from a file we wrote."""
    entry, original = wheel_entries["realesr-animevideov3"], ncnn_files["realesr-animevideov3"]
    target = tmp_path / "out.safetensors"
    convert.convert(original, ".bin", entry, target, original.with_suffix(".param"))
    ours, theirs = tensors.read(target), load_file(target)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert math.prod(tensor.shape) == theirs[name].numel()
        assert torch.equal(torch.from_numpy(tensor.read().copy()), theirs[name])
