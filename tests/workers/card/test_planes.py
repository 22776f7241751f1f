"""Hopper's convolution: its code run on a processor, thread by thread, and compiled for the card."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from testkit.hopper_on_cpu import HopperOnCpu
from workers.card import cuda_code, plane_trial
from workers.card.convolution import Kind
from workers.card.cuda_code import machine_code
from workers.card.layer_trial import SAFE_DB
from workers.card.plane_trial import accuracy, example, shapes_of
from workers.card.planes import PlaneLayer, Shape, chunked, clear_border, doubled, planes, shapes, unchunked

CPU = torch.device("cpu")
KINDS = {
    "first": Kind((3,), 64, True, 0, False),
    "body": Kind((64,), 64, True, 0, False),
    "shuffled": Kind((64,), 48, False, 0, False),
    "two rows of a picture in a product": Kind((64, 32), 32, True, 0, False),
    "one residual": Kind((32, 32), 64, False, 1, False),
    "two residuals": Kind((16, 32), 32, False, 2, False),
    "four rows of a picture in a product": Kind((16,), 3, False, 0, False),
}


@pytest.fixture(scope="module")
def hopper(tmp_path_factory: pytest.TempPathFactory) -> HopperOnCpu:
    """Code for a processor; skipped where there is no g++, but not in CI."""
    if shutil.which("g++") is None and not os.environ.get("CI"):
        pytest.skip("g++ is not installed")
    return HopperOnCpu(tmp_path_factory.mktemp("hopper"))


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_layer_and_every_shape(name: str, hopper: HopperOnCpu) -> None:
    """Each kind is right to 60 dB in a picture whose last tiles reach beyond, one in every shape; no more is written; memory starts as NaN."""
    kind, size = KINDS[name], (1, 5, 131)
    found = shapes(kind)
    assert len(found) >= 4
    for shape in found if name == "two residuals" else found[:1]:
        layer, operands = example(kind, shape, CPU, size)
        hopper.run(layer, *operands)
        assert accuracy(kind, operands, CPU, size) >= SAFE_DB, shape


def test_a_broken_row_breaks_no_other_picture(hopper: HopperOnCpu) -> None:
    """Rows of taps that are zeros meet only the same picture's pixels: NaN in one leaves the other as it was."""
    kind = Kind((16,), 32, False, 0, False)
    (shape, *_) = shapes(kind)
    layer, (inputs, out, residuals) = example(kind, shape, CPU, (2, 9, 20))
    hopper.run(layer, inputs, out, residuals)
    before = out.clone()
    inputs[0][0, :, 1:-1, 1:-1] = torch.nan
    hopper.run(layer, inputs, out, residuals)
    assert torch.equal(out[1], before[1])
    assert unchunked(out, 32)[0].isnan().all()


def test_pixels_are_doubled() -> None:
    """Doubled planes are the nearest pixels of PyTorch's interpolation."""
    buffer = chunked(torch.randn((2, 24, 5, 7)).half())
    result = doubled(buffer)
    clear_border(result)
    expected = torch.nn.functional.interpolate(unchunked(buffer, 24), scale_factor=2)
    assert torch.equal(result, chunked(expected))


def test_pictures_beyond_the_strides_are_refused() -> None:
    """The caller takes smaller tiles."""
    with pytest.raises(MemoryError, match="use smaller tiles"):
        planes(torch.empty(0), 1, 8192, 8192, 64)


def test_a_layer_of_more_outputs_than_a_product_has_no_shape() -> None:
    """Such a program is not offered."""
    wide = Kind((16,), 144, False, 0, False)
    assert shapes(wide) == []
    assert shapes_of(plane_trial.race([wide], CPU, [(1, 4, 6)]), [wide]) is None


def test_no_wrong_or_failed_kernel_is_used(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A kernel that writes zeros is below 60 dB; one that the card refuses is not used either."""
    kind = Kind((16,), 16, False, 0, False)
    monkeypatch.setattr(PlaneLayer, "run", lambda self, inputs, out, residuals: out.zero_())
    assert shapes_of(plane_trial.race([kind], CPU, [(1, 4, 6)]), [kind]) is None
    assert "its error is" in caplog.text

    def refused(*_: object) -> None:
        raise RuntimeError("CUDA said CUDA_ERROR_INVALID_VALUE")

    monkeypatch.setattr(PlaneLayer, "run", refused)
    assert shapes_of(plane_trial.race([kind], CPU, [(1, 4, 6)]), [kind]) is None
    assert "CUDA_ERROR_INVALID_VALUE" in caplog.text


@pytest.mark.parametrize("name", KINDS)
def test_shapes_with_turns_compile(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """NVRTC makes machine code of each without a card, and remarks nothing: it serializes no products."""
    kind = KINDS[name]
    for shape in (s for s in shapes(kind) if s.turns):
        assert machine_code("plane_convolution.cu", constants(kind, shape))[:4] == b"\x7fELF"
    assert bytes([32])[0] == 32, "the compiler's empty log was written into an object that Python shares"
    assert caplog.text == ""


def constants(kind: Kind, shape: Shape) -> tuple[tuple[str, int], ...]:
    weight = torch.zeros((kind.outputs, sum(kind.inputs), 3, 3))
    return tuple(PlaneLayer(kind, weight, torch.zeros(kind.outputs), None, shape, CPU).constants().items())


def test_serialized_products_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the fence before products the compiler serializes them, and says so."""
    for name in ("plane_convolution.cu", "hopper.cuh"):
        text = (cuda_code._HERE / name).read_text()
        (tmp_path / name).write_text(text.replace('asm volatile("wgmma.fence.sync.aligned;" ::: "memory");', ""))
    monkeypatch.setattr(cuda_code, "_HERE", tmp_path)
    kind = KINDS["body"]
    machine_code("plane_convolution.cu", constants(kind, next(s for s in shapes(kind) if s.turns)))
    assert "serialized" in caplog.text


def test_the_compilers_words_are_told() -> None:
    """A constant that is missing is named."""
    with pytest.raises(RuntimeError, match=r"plane_convolution.cu cannot be compiled[\s\S]*OUTPUTS"):
        machine_code("plane_convolution.cu", ())


def test_the_outcome_of_a_trial_is_read() -> None:
    """A layer that doubles runs by its plain kind's shape."""
    kind = Kind((64,), 64, True, 0, True)
    shape = Shape(2, 4, True, True)
    ways = {str(plane_trial.plain(kind)): {"groups": 2, "stages": 4, "resident": True, "turns": True}}
    assert shapes_of({"ways": ways}, [kind]) == {kind: shape}
    assert shapes_of({"ways": {}}, [kind]) is None
