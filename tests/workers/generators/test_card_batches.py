"""The enhancer on a card, as far as a processor can tell: sizes of batches, memory, and what is reused."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from workers.generators.enhancer import Enhancer
from workers.generators.lanczos import architecture, resize
from workers.generators.network import go_on
from workers.generators.tiling import largest_tile

TWICE = dataclasses.replace(architecture(2), halo=2, clips=True)


def doubled(frame: torch.Tensor) -> torch.Tensor:
    return frame.repeat_interleave(2, -1).repeat_interleave(2, -2)


class Card:
    """A network of scale 2 whose batches are those of a card; its tensors stay in this machine's memory."""

    backend = "test"
    precision = "fp16"

    def __init__(self, device: str = "cuda", broken: int | None = None) -> None:
        """Repeat pixels; from frame `broken` of each batch on the result is NaN."""
        self.device, self.broken = torch.device(device), broken
        self.checkpoint = go_on
        self.batches: list[int] = []

    def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
        self.batches.append(rgb.shape[0])
        result = doubled(rgb)
        if self.broken is not None:
            result[self.broken :] = float("nan")
        return result


def many(_: torch.device) -> int:
    """Return bytes for any picture."""
    return 1 << 40


def test_a_card_gets_batches_of_few_sizes_and_whole_frames() -> None:
    """On a card equal frames are reused, changed ones are computed whole, and batches are filled up to a power of two."""
    network = Card()
    enhancer = Enhancer(dataclasses.replace(TWICE, exact=True), network, "", free=many)
    frames = torch.rand((4, 3, 96, 128), generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1
    frames[1] = frames[0]
    changed = frames[2].clone()
    changed[:, :8, :8] = 0.5
    frames[3] = changed
    assert torch.equal(enhancer.frames(frames, (192, 256)), doubled(frames))
    assert network.batches == [4], "three of four frames are new, the last of them only in a corner"
    record = enhancer.record()
    assert (record["frames_reused"], record.get("frames_patched", 0)) == (1, 0)


def test_a_filled_up_batch_counts_its_own_broken_frames_alone() -> None:
    """A broken frame that was repeated to fill a batch is computed again once."""
    network, exact = Card(broken=2), Card()
    enhancer = Enhancer(TWICE, network, "", exact=lambda: exact, free=many)
    frames = torch.rand((3, 3, 32, 32), generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1
    assert torch.equal(enhancer.frames(frames, (64, 64)), doubled(frames))
    assert enhancer.record()["retried_in_fp32"] == 1


@pytest.mark.parametrize("fits", [1, 0])
def test_memory_that_is_short_beside_the_network(fits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are computed one by one if their results do not fit at once; if one does not, it is the worker's fault."""

    def tight(result: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        tight.calls += 1  # type: ignore[attr-defined]
        if tight.calls == 2 or not fits:  # type: ignore[attr-defined]
            raise torch.cuda.OutOfMemoryError("injected")
        return resize(result, size)

    tight.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr("workers.generators.enhancer.resize", tight)
    enhancer = Enhancer(TWICE, Card("cpu"), "")
    batch = torch.rand((4, 3, 96, 128), generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1
    batch[1] = batch[0]
    if fits:
        whole = Enhancer(TWICE, Card("cpu"), "").frames
        monkeypatch.setattr("workers.generators.enhancer.resize", resize)
        expected = whole(batch, (96, 128))
        monkeypatch.setattr("workers.generators.enhancer.resize", tight)
        assert torch.equal(enhancer.frames(batch, (96, 128)), expected)
        record = enhancer.record()
        assert (record["out_of_memory"], record["frames_reused"], record["reused"]) == (1, 1, round(1 / 4, 4))
    else:
        with pytest.raises(MemoryError, match="too little memory on cpu for a result of 128x96 pixels"):
            enhancer.frames(batch, (96, 128))


def test_half_floats_take_larger_tiles() -> None:
    """Values within the network count two bytes in half floats, what goes in and comes out four."""
    wide = dataclasses.replace(TWICE, memory=1000)
    full, half = (largest_tile(4000, 4000, wide, 1 << 30, element) for element in (4, 2))
    assert half > full
    assert half**2 * (1000 * 2 + 3 * 5 * 4) <= 1 << 29
