"""The convolution kernel of cards, interpreted, against PyTorch's convolution in fp32."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from workers.card import layer_trial
from workers.card.convolution import Kind, Tile, bordered
from workers.card.layer_trial import accuracy, measured, race, ways_of

CPU = torch.device("cpu")
SMALL = Tile(4, 16, 4, 4)
KINDS = {
    "first": Kind((3,), 64, True, 0, False),
    "body": Kind((64,), 64, True, 0, False),
    "shuffled": Kind((64,), 48, False, 0, False),
    "two buffers": Kind((64, 96), 32, True, 0, False),
    "one residual": Kind((32, 32), 64, False, 1, False),
    "two residuals": Kind((16,), 16, False, 2, False),
    "doubling": Kind((32,), 32, True, 0, True),
    "wide": Kind((16,), 144, False, 0, False),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_layer(name: str, interpreted: Callable[..., Any]) -> None:
    """Every kind is right to 60 dB at an odd size, in both images, and clears the border."""
    assert interpreted(accuracy, KINDS[name], SMALL, CPU, (2, 5, 18)) >= 60


@pytest.mark.parametrize("tile", layer_trial.TILES, ids=str)
def test_every_tile(tile: Tile, interpreted: Callable[..., Any]) -> None:
    """Pictures that need several rectangles, the last of which reach beyond, are right with every tile."""
    assert interpreted(accuracy, Kind((16,), 16, True, 1, False), tile, CPU, (1, 9, 33)) >= 60


def test_a_race_measures_only_what_is_right(interpreted: Callable[..., Any]) -> None:
    """Interpreted kernels are slower than PyTorch's, so that these win; every way that is right has a time."""
    kind = Kind((16,), 16, True, 0, False)
    found = interpreted(race, [kind], CPU, [(1, 4, 6)], 1)
    assert ways_of(found, [kind]) == {kind: None}
    (times,) = found["milliseconds"].values()
    assert set(times) == {"PyTorch", *map(str, layer_trial.TILES)}


def test_a_wrong_or_impossible_kernel_never_wins(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A kernel below 60 dB, or one that cannot run, takes forever; PyTorch's errors are errors."""
    kind = Kind((16,), 16, False, 0, False)
    monkeypatch.setattr(layer_trial.Layer, "_run_in_triton", lambda self, operands, tile: operands.output.zero_())
    assert measured(kind, SMALL, CPU, [(1, 4, 6)]) == math.inf
    assert "its error is" in caplog.text

    def broken(*_: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(layer_trial.Layer, "_run_in_triton", broken)
    assert measured(kind, SMALL, CPU, [(1, 4, 6)]) == math.inf
    assert "no compiler" in caplog.text
    monkeypatch.setattr(layer_trial.Layer, "_run_in_torch", broken)
    with pytest.raises(RuntimeError, match="no compiler"):
        measured(kind, None, CPU, [(1, 4, 6)])


def test_a_picture_too_large_for_one_buffer() -> None:
    """It is refused as memory that is short, for which smaller tiles are tried."""
    with pytest.raises(MemoryError, match="use smaller tiles"):
        bordered(torch.empty(0), 1, 8192, 8192, 64)
