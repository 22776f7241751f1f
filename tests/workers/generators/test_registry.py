"""Loading of generators from specs: refusals, choice of backend, caches, and community models."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from contract.errors import UsageError, WeightsError
from contract.job import Spec, Weights
from contract.programs import Program, command_line
from contract.settings import Settings
from contract.verdict import Subject
from workers.generators import registry
from workers.generators.backend_race import Candidate
from workers.generators.basicsr_archs import architecture
from workers.generators.enhancer import Enhancer
from workers.generators.lanczos import architecture as plain
from workers.generators.registry import load

Pinned = tuple[Weights, Path]
Load = Callable[..., Enhancer]
COMPACT = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_conv": 2, "upscale": 2, "act_type": "prelu"}


def state_of(class_file: str, name: str, **parameters: Any) -> dict[str, np.ndarray]:
    torch.manual_seed(11)
    return {k: v.numpy() for k, v in architecture(class_file, name)(**parameters).state_dict().items()}


@pytest.fixture
def compact(written: Any) -> Pinned:
    """A small SRVGGNetCompact of scale 2."""
    made: Pinned = written(state_of("srvgg_arch", "SRVGGNetCompact", **COMPACT), "srvgg", COMPACT)
    return made


@pytest.fixture
def picture() -> torch.Tensor:
    return torch.rand((1, 3, 24, 20), generator=torch.Generator().manual_seed(4))


def test_bytes_with_another_hash_are_refused(compact: Pinned, enhancer: Load) -> None:
    """A file whose SHA-256 is not the pinned one is not loaded; the error names both hashes."""
    weights, path = compact
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(WeightsError, match=f"have SHA-256 [0-9a-f]{{64}}, but the job pins {weights.sha256}"):
        enhancer(compact)


def test_a_pinned_pickle_is_refused(compact: Pinned, tmp_path: Path) -> None:
    """A pickle with the right hash is refused without being unpickled."""
    import hashlib

    path = tmp_path / "pickle"
    path.write_bytes(pickle.dumps({"a": 1}))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    weights = msgspec.structs.replace(compact[0], sha256=sha256)
    with pytest.raises(WeightsError, match="are not a safetensors file"):
        load(Spec(model="made", weights=(weights,)), {sha256: path}, Settings(cache=tmp_path, device="cpu"))


@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_conv": 3}, "do not fit srvgg"),
        ({"num_conv": "two"}, "num_conv = 'two'"),
        ({"upscale": 99}, "upscale = 99"),
        ({"act_type": "sine"}, "act_type = 'sine'"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(
    backend: str, changes: dict[str, Any], message: str, compact: Pinned, enhancer: Load, picture: torch.Tensor
) -> None:
    """A catalog entry whose parameters do not fit the file is refused with the parameter or the mismatch."""
    weights = msgspec.structs.replace(compact[0], parameters={**COMPACT, **changes})
    with pytest.raises(WeightsError, match=message):
        enhancer((weights, compact[1]), backend=backend).frames(picture, (48, 40))


def test_an_unknown_architecture_is_refused(compact: Pinned, enhancer: Load) -> None:
    """An architecture that no family builds is refused with the list of known ones."""
    weights = msgspec.structs.replace(compact[0], architecture="gan9000")
    with pytest.raises(WeightsError, match="'gan9000', which is not one of rrdbnet, srvgg, spandrel"):
        enhancer((weights, compact[1]))


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    """A spec without weights, or with weights that were not fetched, is refused in one sentence."""
    settings = Settings(cache=tmp_path, device="cpu")
    with pytest.raises(UsageError, match="pins no generator weights"):
        load(Spec(model="x4plus"), {}, settings)
    weights = Weights("generator", "x", "0" * 64, "srvgg", {}, "MIT", "")
    with pytest.raises(WeightsError, match="were not fetched"):
        load(Spec(model="x", weights=(weights,)), {}, settings)


@pytest.mark.parametrize(
    "options",
    [{"precision": "fp16", "backend": "auto"}, {"backend": "openvino", "precision": "fp16"}, {"backend": "tensorrt"}],
)
def test_an_unavailable_backend_or_precision_is_refused(
    options: dict[str, str], compact: Pinned, enhancer: Load
) -> None:
    """A precision or backend that the device does not support is refused, and not replaced by another."""
    with pytest.raises(UsageError, match="is not available on cpu"):
        enhancer(compact, **options)


@pytest.mark.parametrize("device", ["cuda:7", "abacus"])
def test_a_missing_device_is_refused(device: str, compact: Pinned, enhancer: Load) -> None:
    """A missing device is refused in one sentence, without a fallback to the CPU."""
    with pytest.raises(UsageError, match=f"device '{device}' cannot be used"):
        enhancer(compact, device=device)


def test_the_choice_is_in_the_record(compact: Pinned, enhancer: Load, picture: torch.Tensor) -> None:
    """The record contains backend, precision, device and the reason for the choice."""
    generator = enhancer(compact, backend="torch", precision="fp32")
    generator.frames(picture, (48, 40))
    record = generator.record()
    assert (record["backend"], record["precision"], record["device"]) == ("torch", "fp32", "cpu")
    assert record["reason"] == generator.reason != ""


def test_compiled_networks_are_kept_and_used(
    compact: Pinned, enhancer: Load, picture: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second enhancer loads the compiled network: the graph is not built again, and the result is the same."""
    first = enhancer(compact, backend="openvino").frames(picture, (48, 40))
    assert list((tmp_path / "cache" / "compiled").glob("*.blob"))

    def never(*_: object) -> None:
        raise AssertionError("the graph was built again")

    again = enhancer(compact, backend="openvino")
    monkeypatch.setattr(again._network, "_graph", never)
    assert torch.equal(again.frames(picture, (48, 40)), first)


def test_a_broken_cache_costs_only_time(compact: Pinned, enhancer: Load, picture: torch.Tensor, tmp_path: Path) -> None:
    """Damaged compiled networks are compiled and stored again; a cache that cannot be written causes no error."""
    first = enhancer(compact, precision="fp32").frames(picture, (48, 40))
    (blob,) = (tmp_path / "cache" / "compiled").glob("*.blob")
    for damaged in (blob.read_bytes()[:-99], blob.read_bytes().replace(b"\x00\x00", b"\x00\x01"), b""):
        blob.write_bytes(damaged)
        assert torch.equal(enhancer(compact, precision="fp32").frames(picture, (48, 40)), first)
        assert blob.read_bytes() != damaged
    blob.unlink()
    blob.parent.rmdir()
    blob.parent.write_text("no folder")
    assert torch.equal(enhancer(compact, precision="fp32").frames(picture, (48, 40)), first)


def test_a_card_races_half_floats_against_fp32(
    compact: Pinned, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a card fp16 is held against fp32 as bf16 is on a processor, and a verdict holds for that card's model alone."""
    raced: list[tuple[list[str], str]] = []

    def chosen(candidates: list[Candidate], subject: Subject, key: str, _: Settings) -> Any:
        assert (subject.architecture, subject.cores) == (pinned.architecture, 0)
        raced.append(([c.precision for c in candidates], key))
        return plain(2), SimpleNamespace(device=torch.device("cuda"), precision="fp16", backend="torch"), ""

    pinned, path = compact
    monkeypatch.setattr(registry, "choose", chosen)
    monkeypatch.setattr(registry, "pick_device", lambda _: torch.device("cuda"))
    for card in ("A", "B"):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _, card=card: card)
        spec = Spec(model="m", weights=(pinned,))
        registry.load(spec, {pinned.sha256: path}, Settings(cache=tmp_path))
    assert [precisions for precisions, _ in raced] == [["fp16", "fp32"]] * 2
    assert raced[0][1] != raced[1][1]


def test_a_network_that_spandrel_recognises_runs(written: Any, enhancer: Load, picture: torch.Tensor) -> None:
    """A network of another family runs through spandrel with its own scale."""
    from spandrel.architectures.SPAN import SPAN

    torch.manual_seed(2)
    network = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=16, upscale=2)
    state = {k: v.numpy() for k, v in network.state_dict().items()}
    generator = enhancer(
        written(state, "spandrel", {"scale": 2, "input_channels": 3, "output_channels": 3}), backend="auto"
    )
    assert generator.scale == 2
    assert generator.backend == "torch"
    assert generator.frames(picture, (48, 40)).shape == (1, 3, 48, 40)


def test_a_grey_network_sees_each_channel(written: Any, enhancer: Load, picture: torch.Tensor) -> None:
    """A network of one channel processes R, G and B separately."""
    parameters = {**COMPACT, "num_in_ch": 1, "num_out_ch": 1}
    state = state_of("srvgg_arch", "SRVGGNetCompact", **parameters)
    generator = enhancer(
        written(state, "spandrel", {"scale": 2, "input_channels": 1, "output_channels": 1}), backend="auto"
    )
    network = architecture("srvgg_arch", "SRVGGNetCompact")(**parameters).eval()
    network.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
    with torch.no_grad():
        alone = network(picture[:, 1:2]).clamp(0, 1)
    assert torch.allclose(generator.frames(picture, (48, 40))[:, 1:2], alone, atol=1e-5)


def test_a_catalog_entry_with_another_scale_is_refused(written: Any, enhancer: Load) -> None:
    """A community network whose scale differs from the catalog's is refused, as the plan has another size."""
    state = state_of("srvgg_arch", "SRVGGNetCompact", **COMPACT)
    with pytest.raises(WeightsError, match="enlarges by 2, but the catalog says 4"):
        enhancer(written(state, "spandrel", {"scale": 4}), backend="auto")


def inspect(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command_line(Program.INSPECT_CHECKPOINT, path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_inspect_describes_a_checkpoint(compact: Pinned, tmp_path: Path) -> None:
    """A checkpoint of upstream's training is described as JSON: architecture, scale, channels, fp16."""
    path = tmp_path / "net.pth"
    state = state_of("srvgg_arch", "SRVGGNetCompact", **COMPACT)
    torch.save({"params_ema": {k: torch.from_numpy(v) for k, v in state.items()}}, path)
    done = inspect(path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["architecture"] == "RealESRGAN Compact"
    assert (found["scale"], found["input_channels"], found["output_channels"]) == (2, 3, 3)
    assert found["half"] is True
    assert found["parameters"] == sum(v.size for v in state.values())


class Evil:
    """An object that runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pickle that runs code", "text", "no network", "cut short", "missing"])
def test_inspect_refuses_in_one_sentence(kind: str, compact: Pinned, tmp_path: Path) -> None:
    """An unsafe file, or one without a network, is refused with exit code 2 and one sentence; no code in it runs."""
    mark = tmp_path / "mark"
    path = tmp_path / "file.pth"
    if kind == "pickle that runs code":
        torch.save({"params": Evil(mark)}, path)
    elif kind == "text":
        path.write_text("hello")
    elif kind == "no network":
        torch.save({"params": {"a": torch.zeros(3)}}, path)
    elif kind == "cut short":
        path = tmp_path / "file.safetensors"
        path.write_bytes(compact[1].read_bytes()[:-9])
    done = inspect(path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert not mark.exists()


def test_basicsrs_classes_load_without_basicsr(tmp_path: Path) -> None:
    """The architectures are basicsr's own classes, but the package is not imported; a later import gets the whole package."""
    code = (
        "import sys; from workers.generators.basicsr_archs import architecture;"
        "a = architecture('rrdbnet_arch', 'RRDBNet'); b = architecture('srvgg_arch', 'SRVGGNetCompact');"
        "assert a.__module__ == 'basicsr.archs.rrdbnet_arch', a.__module__;"
        "assert not [m for m in sys.modules if m.startswith('basicsr')];"
        "from workers.generators import compat; compat.load('basicsr.archs.srvgg_arch');"
        "assert 'basicsr.train' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_threads_are_those_of_the_settings(compact: Pinned, enhancer: Load, picture: torch.Tensor) -> None:
    """The setting `threads` reaches torch and OpenVINO."""
    before = torch.get_num_threads()
    try:
        generator = enhancer(compact, threads=1, backend="openvino")
        generator.frames(picture, (48, 40))
        assert torch.get_num_threads() == 1
        (request,) = generator._network._requests.values()
        assert request.get_compiled_model().get_property("INFERENCE_NUM_THREADS") == 1
    finally:
        torch.set_num_threads(before)
