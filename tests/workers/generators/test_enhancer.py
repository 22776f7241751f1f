"""The enhancer: recovery from device errors and broken results, and reuse of unchanged frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from contract.errors import EnhanceError
from contract.job import Weights
from workers.generators.enhancer import Enhancer
from workers.generators.frame_diff import changed_boxes
from workers.generators.lanczos import Lanczos, architecture
from workers.generators.network import go_on

Pinned = tuple[Weights, Path]
CPU = torch.device("cpu")
TWICE = dataclasses.replace(architecture(2), halo=2, clips=True)


class Doubling:
    """A network of scale 2 that repeats pixels, remembers its inputs' shapes, and can have one fault."""

    backend = "test"
    precision = "fp16"
    device = CPU

    def __init__(self, largest: int = 1 << 30, spoil: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
        self.largest = largest
        self.checkpoint = go_on
        self.spoil = spoil
        self.shapes: list[tuple[int, int]] = []

    def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
        height, width = rgb.shape[-2:]
        if max(height, width) > self.largest:
            raise MemoryError("injected")
        self.shapes.append((height, width))
        result = rgb.repeat_interleave(2, -1).repeat_interleave(2, -2)
        return self.spoil(result) if self.spoil else result


@pytest.fixture
def frame() -> torch.Tensor:
    return torch.rand((1, 3, 96, 128), generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1


def doubled(frame: torch.Tensor) -> torch.Tensor:
    return frame.repeat_interleave(2, -1).repeat_interleave(2, -2)


def test_out_of_memory_halves_the_tile_and_is_remembered(frame: torch.Tensor) -> None:
    """A frame too large for the device is processed exactly in tiles of half the size, and the next frame starts with them."""
    network = Doubling(largest=80)
    enhancer = Enhancer(TWICE, network, "")
    assert torch.equal(enhancer.frames(frame, (192, 256)), doubled(frame))
    assert enhancer.record()["out_of_memory"] == 1
    calls = len(network.shapes)
    enhancer.frames(frame * 0.5, (192, 256))
    assert max(max(s) for s in network.shapes[calls:]) <= 80
    assert "out_of_memory" not in enhancer.record()


def test_out_of_memory_at_the_smallest_tile_fails_the_chunk(frame: torch.Tensor) -> None:
    """When even the smallest tile does not fit, the error names generator, device and tile size."""
    enhancer = Enhancer(TWICE, Doubling(largest=8), "")
    with pytest.raises(EnhanceError, match=r"lanczos runs out of memory on cpu even with tiles of \d+ pixels"):
        enhancer.frames(frame, (192, 256))


def poisoned(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def spoil(result: torch.Tensor) -> torch.Tensor:
        result[0, 1, 7, 9] = value
        return result

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [poisoned(float("nan")), poisoned(float("inf")), poisoned(float("-inf")), torch.zeros_like],
    ids=["nan", "inf", "-inf", "black"],
)
def test_a_broken_result_is_computed_again_in_fp32(
    spoil: Callable[[torch.Tensor], torch.Tensor], frame: torch.Tensor
) -> None:
    """NaN, infinity, and black from an image that is not black are computed again in fp32, and the record reports it."""
    enhancer = Enhancer(TWICE, Doubling(spoil=spoil), "", exact=Doubling)
    assert torch.equal(enhancer.frames(frame, (192, 256)), doubled(frame))
    assert enhancer.record()["retried_in_fp32"] == 1


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")], ids=["black", "nan", "inf"])
def test_one_broken_frame_among_four_is_found(value: float) -> None:
    """Each frame of a batch is checked by itself, and only the broken one is computed again."""
    frames = torch.rand((4, 3, 40, 48), generator=torch.Generator().manual_seed(7)) * 0.8 + 0.1

    def spoil(result: torch.Tensor) -> torch.Tensor:
        result[2] = value
        return result

    seen: list[torch.Tensor] = []

    class Exact(Doubling):
        def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
            seen.append(rgb)
            return super().__call__(rgb)

    enhancer = Enhancer(TWICE, Doubling(spoil=spoil), "", exact=Exact)
    assert torch.equal(enhancer.frames(frames, (80, 96)), doubled(frames))
    assert len(seen) == 1
    assert torch.equal(seen[0], frames[2:3])
    assert enhancer.record()["retried_in_fp32"] == 1


def test_only_the_broken_tile_is_computed_again(frame: torch.Tensor) -> None:
    """With tiles, the fp32 network computes only the broken tile, not the whole frame."""
    exact = Doubling()
    calls = iter(range(100))
    spoil = poisoned(float("nan"))
    network = Doubling(spoil=lambda result: spoil(result) if next(calls) == 3 else result)
    enhancer = Enhancer(TWICE, network, "", tile=32, exact=lambda: exact)
    assert torch.equal(enhancer.frames(frame, (192, 256)), doubled(frame))
    assert len(exact.shapes) == 1
    assert len(network.shapes) == 12


@pytest.mark.parametrize("exact", [None, lambda: Doubling(spoil=poisoned(float("nan")))], ids=["fp32 already", "again"])
def test_a_result_broken_in_fp32_too_fails_the_chunk(exact: Callable[[], Any] | None, frame: torch.Tensor) -> None:
    """A result that is broken in fp32 too is an error with the fault and what to check; nothing is returned."""
    enhancer = Enhancer(TWICE, Doubling(spoil=poisoned(float("nan"))), "", exact=exact)
    with pytest.raises(EnhanceError, match=r"returns NaN .* models verify"):
        enhancer.frames(frame, (192, 256))


def test_black_from_black_is_accepted() -> None:
    """A black frame, and one so dark that it looks black, may give a black result."""
    enhancer = Enhancer(TWICE, Doubling(spoil=torch.zeros_like), "")
    assert enhancer.frames(torch.full((1, 3, 32, 32), 2 / 255), (64, 64)).max() == 0


def test_an_equal_frame_is_not_computed(frame: torch.Tensor) -> None:
    """Frames equal to the previous one need no network call, within a batch and between calls; another size needs only a resize."""
    network = Doubling()
    enhancer = Enhancer(TWICE, network, "")
    first = enhancer.frames(torch.cat([frame, frame]), (192, 256))
    again = enhancer.frames(frame, (192, 256))
    smaller = enhancer.frames(frame, (96, 128))
    assert len(network.shapes) == 1
    assert torch.equal(first[1], again[0])
    assert torch.equal(first[0], again[0])
    assert smaller.shape == (1, 3, 96, 128)
    record = enhancer.record()
    assert (record["frames"], record["frames_reused"], record["reused"]) == (4, 3, 0.75)


def test_a_forgotten_frame_is_computed(frame: torch.Tensor) -> None:
    """After `forget` nothing is reused, as benchmarks without reuse require."""
    network = Doubling()
    enhancer = Enhancer(TWICE, network, "")
    for _ in range(2):
        enhancer.frames(frame, (192, 256))
        enhancer.forget()
    assert len(network.shapes) == 2


def test_a_nearly_equal_frame_is_computed(frame: torch.Tensor) -> None:
    """The last bit of one value is a difference; without an exact halo the whole frame is computed again."""
    network = Doubling()
    enhancer = Enhancer(dataclasses.replace(TWICE, exact=False), network, "")
    other = frame.clone()
    other[0, 2, 50, 60] = torch.nextafter(other[0, 2, 50, 60], torch.tensor(1.0))
    enhancer.frames(frame, (192, 256))
    assert torch.equal(enhancer.frames(other, (192, 256)), doubled(other))
    assert network.shapes == [(96, 128), (96, 128)]


def test_only_changed_parts_are_computed(frame: torch.Tensor) -> None:
    """With an exact halo, only a changed corner is computed, and the result is right everywhere."""
    network = Doubling()
    enhancer = Enhancer(TWICE, network, "")
    other = frame.clone()
    other[..., 70:90, 5:20] = 0.3
    enhancer.frames(frame, (192, 256))
    assert torch.equal(enhancer.frames(other, (192, 256)), doubled(other))
    assert network.shapes[1][0] * network.shapes[1][1] < 0.4 * 96 * 128
    assert enhancer.record()["frames_patched"] == 1


def test_earlier_results_stay_unchanged(frame: torch.Tensor) -> None:
    """Patching the next frame does not write to the tensor that the caller may still be encoding."""
    enhancer = Enhancer(TWICE, Doubling(), "")
    before = enhancer.frames(frame, (192, 256))
    kept = before.clone()
    other = frame.clone()
    other[..., :8, :8] = 0
    enhancer.frames(other, (192, 256))
    assert torch.equal(before, kept)


@pytest.mark.parametrize(("top", "left"), [(0, 0), (31, 31), (32, 64), (95, 127), (50, 3)])
def test_changes_are_found_with_their_halo(top: int, left: int) -> None:
    """Every result pixel that a changed pixel can affect is in a box."""
    before = torch.zeros((1, 3, 96, 128))
    now = before.clone()
    now[0, 1, top, left] = 1
    boxes = changed_boxes(before, now, 18)
    assert boxes is not None
    covered = torch.zeros((96, 128))
    for t, le, b, r in boxes:
        covered[t:b, le:r] = 1
    assert covered[max(0, top - 18) : top + 19, max(0, left - 18) : left + 19].all()


def test_changed_boxes_do_not_overlap() -> None:
    """Boxes contain all changed pixels and share none, for random patterns."""
    generator = torch.Generator().manual_seed(5)
    for _ in range(20):
        before = torch.zeros((1, 3, 512, 640))
        now = before.clone()
        for _ in range(4):
            y, x = (int(torch.randint(0, n, (1,), generator=generator)) for n in (512, 640))
            now[..., y : y + 9, x : x + 9] = 1
        boxes = changed_boxes(before, now, 2) or []
        covered = torch.zeros((512, 640))
        for t, le, b, r in boxes:
            covered[t:b, le:r] += 1
        assert covered.max() == 1
        assert covered[(now[0, 0] > 0)].all()


@pytest.mark.parametrize("tile", [32, 44, 1000])
@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_tiled_srvgg_equals_untiled_exactly(
    tile: int, backend: str, pinned: Callable[[str], Pinned], enhancer: Callable[..., Enhancer], photo: torch.Tensor
) -> None:
    """In fp32 the halo of SRVGG is exact: tiles of any size give the same bits as the untiled frame, also for an odd size."""
    picture = photo[..., 90:181, 150:285].contiguous()
    size = (picture.shape[-2] * 4, picture.shape[-1] * 4)
    chosen = {"backend": backend, "precision": "fp32"}
    whole = enhancer(pinned("realesr-animevideov3"), **chosen).frames(picture, size)
    tiled = enhancer(pinned("realesr-animevideov3"), tile=tile, **chosen).frames(picture, size)
    assert torch.equal(whole, tiled)


@pytest.mark.parametrize("backend", ["openvino", "native"])
def test_patched_srvgg_equals_whole_exactly(
    backend: str, pinned: Callable[[str], Pinned], enhancer: Callable[..., Enhancer], photo: torch.Tensor
) -> None:
    """A frame of which only the changed part was computed has the same bits as the frame computed whole."""
    picture = photo[..., :192, :448].contiguous()
    other = picture.clone()
    other[..., 160:180, 410:440] = photo[..., 300:320, 300:330]
    moving = enhancer(pinned("realesr-animevideov3"), backend=backend, precision="fp32")
    moving.frames(picture, (768, 1792))
    patched = moving.frames(other, (768, 1792))
    alone = enhancer(pinned("realesr-animevideov3"), backend=backend, precision="fp32").frames(other, (768, 1792))
    record = moving.record()
    assert record["frames_patched"] == 1
    assert torch.equal(patched, alone)


def test_tiled_rrdb_stays_within_four_code_values(
    pinned: Callable[[str], Pinned], enhancer: Callable[..., Enhancer], photo: torch.Tensor
) -> None:
    """RRDB tiles with the default halo differ from the untiled result by at most 4 of 255, and by less than 0.05 on average."""
    picture = photo[..., 40:72, 100:292].contiguous()
    whole = enhancer(pinned("RealESRGAN_x4plus_anime_6B")).frames(picture, (128, 768))
    tiled = enhancer(pinned("RealESRGAN_x4plus_anime_6B"), tile=64).frames(picture, (128, 768))
    difference = (whole - tiled).abs() * 255
    assert 0 < float(difference.max()) <= 4
    assert float(difference.mean()) < 0.05


def test_the_baseline_keeps_values_beyond_black_and_white() -> None:
    """Lanczos at scale 1 keeps film's superblacks and superwhites; networks take and return [0, 1]."""
    wide = torch.linspace(-0.1, 1.1, 3 * 16 * 16).reshape(1, 3, 16, 16)
    baseline = Enhancer(architecture(1), Lanczos(1, CPU), "")
    assert torch.equal(baseline.frames(wide, (16, 16)), wide)
    network = Enhancer(TWICE, Doubling(), "")
    assert torch.equal(network.frames(wide, (32, 32)), doubled(wide).clamp(0, 1))
