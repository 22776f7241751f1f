"""One forward pass before a model is added: what fails, gives no numbers or another size than it says never enters the catalog."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from contract.errors import WeightsError
from contract.settings import Settings
from training.inspect_checkpoint import inspect, read_state, try_out
from weights import catalog, models
from workers.generators.community import Recognised, recognise


def compact(path: Path, scale: int = 2, fill: float | None = None) -> Path:
    """Write a small SRVGGNetCompact with random weights, or with one value everywhere."""
    torch.manual_seed(1)
    state = {
        "body.0.weight": torch.randn(8, 3, 3, 3) / 9,
        "body.0.bias": torch.zeros(8),
        "body.1.weight": torch.full((8,), 0.2),
    }
    for layer in (2, 4):
        state |= {f"body.{layer}.weight": torch.randn(8, 8, 3, 3) / 20, f"body.{layer}.bias": torch.zeros(8)}
        state |= {f"body.{layer + 1}.weight": torch.full((8,), 0.2)}
    last = 3 * scale * scale
    state |= {"body.6.weight": torch.randn(last, 8, 3, 3) / 20, "body.6.bias": torch.zeros(last)}
    if fill is not None:
        state = {name: torch.full_like(value, fill) for name, value in state.items()}
    torch.save({"params": state}, path)
    return path


@pytest.fixture
def network(tmp_path: Path) -> Recognised:
    """Return a sound network as spandrel describes it."""
    return recognise("sound.pth", read_state(compact(tmp_path / "sound.pth")))


def test_a_sound_network_passes(tmp_path: Path) -> None:
    """A network that makes what it says is described with its own scale."""
    assert inspect(compact(tmp_path / "sound.pth", scale=4))["scale"] == 4


@pytest.mark.parametrize("fill", [float("nan"), float("inf"), 1e38])
def test_weights_that_give_no_numbers_are_refused(fill: float, tmp_path: Path) -> None:
    """NaN, infinite and overflowing weights fail the forward pass."""
    with pytest.raises(WeightsError, match=r"broken\.pth gives values that are no numbers"):
        inspect(compact(tmp_path / "broken.pth", fill=fill))


@pytest.mark.parametrize("scale", [1, 3, 4])
def test_a_scale_that_is_not_the_networks_own_is_refused(scale: int, network: Recognised) -> None:
    """A network that says another factor than it enlarges by is refused with both sizes."""
    with pytest.raises(WeightsError, match=rf"enlarges {scale} times, but makes \(1, 3, 128, 128\)"):
        try_out("sound.pth", dataclasses.replace(network, scale=scale))


def test_a_network_of_other_channels_is_refused(network: Recognised) -> None:
    """A network that cannot take what it says that it takes fails in one sentence."""
    with pytest.raises(WeightsError, match=r"sound\.pth fails on a picture of 64 x 64"):
        try_out("sound.pth", dataclasses.replace(network, input_channels=1))


@pytest.mark.slow
def test_a_broken_network_never_enters_the_catalog(tmp_path: Path) -> None:
    """`models add` runs the pass in a process of its own, passes its sentence on, and leaves catalog and cache unchanged."""
    home = Settings(cache=tmp_path / "cache", state=tmp_path / "state")
    with pytest.raises(WeightsError, match="values that are no numbers"):
        models.add(compact(tmp_path / "broken.pth", fill=1e38), home)
    assert not catalog.read_user_catalog(home).models
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    added = models.add(compact(tmp_path / "sound.pth"), home)
    assert (added.name, added.scale) == ("sound", 2)
