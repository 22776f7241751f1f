"""Winograd's algorithm with products in bf16: exact where nothing is rounded, near fp32 elsewhere, the same for all threads and tiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from contract.job import Weights
from testkit.small_networks import small_rrdbnet
from workers.generators import srvgg
from workers.generators.basicsr_archs import architecture
from workers.generators.enhancer import Enhancer
from workers.generators.native.network import NativeNetwork, ways
from workers.generators.native.program import Convolution, Program, Slice
from workers.llvm.machine import has_matrix_unit, multiplies_bf16

Pinned = tuple[Weights, Path]

pytestmark = pytest.mark.skipif(
    has_matrix_unit() or not multiplies_bf16(), reason="this processor has no bf16 on vectors, or a matrix unit for it"
)

HALF, WHOLE = ("winograd", "bf16"), ("native", "fp32")
RANDOM = np.random.default_rng(11)


def random(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of machine code that the tests share, as processes do."""
    return tmp_path_factory.mktemp("cache")


def near(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Return the PSNR in dB against the peak of `theirs`."""
    error = float((ours.double() - theirs.double()).square().mean()) / float(theirs.abs().max()) ** 2
    return -10 * math.log10(max(error, 1e-30))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (5, 7), (33, 130)])
@pytest.mark.parametrize("kind", ["plain", "leaky", "two inputs", "residual", "double"])
def test_a_layer_loses_what_rounding_its_operands_loses(height: int, width: int, kind: str, cache: Path) -> None:
    """A layer of random weights is off by some 0.9% of its deviation, 2.1% where a picture is doubled; a few pixels, by more."""
    a = Slice("a", 0, 64)
    inputs = (a, Slice("a", 16, 32)) if kind == "two inputs" else (a,)
    outputs = 32 if kind == "leaky" else 64
    first = Convolution((Slice("in", 0, 3),), a, random(64, 3, 3, 3), random(64))
    layer = Convolution(
        inputs, Slice("b", 0, outputs), random(outputs, sum(s.channels for s in inputs), 3, 3), random(outputs),
        np.full(outputs, 0.2, np.float32) if kind == "leaky" else None,
        ((a, 2.0),) if kind == "residual" else (), kind == "double",
    )  # fmt: skip
    last = Convolution((layer.output,), Slice("out", 0, 3), random(3, outputs, 3, 3), random(3))
    body, tail = ((first,), (layer, last)) if kind == "double" else ((first, layer, last), ())
    program = Program(2 if kind == "double" else 1, {"in": 3, "a": 64, "b": outputs, "out": 3}, body, tail, reach=2)
    picture = torch.from_numpy(random(1, 3, height, width))
    made = {}
    for way in (HALF, WHOLE):
        network = NativeNetwork(program, way, 2, cache)
        network(picture)
        made[way] = network._buffers._held["b"].copy()
    lost = np.sqrt(np.square(made[HALF] - made[WHOLE]).mean() / np.square(made[WHOLE]).mean())
    assert 0 < lost < (0.04 if kind == "double" else 0.025)


def test_the_frame_is_not_rounded(cache: Path) -> None:
    """The first layer stays in fp32: alone, it gives fp32's bits."""
    only = Convolution((Slice("in", 0, 3),), Slice("out", 0, 3), random(3, 3, 3, 3), random(3))
    program = Program(1, {"in": 3, "out": 3}, (only,))
    picture = torch.from_numpy(random(1, 3, 21, 30))
    assert torch.equal(
        NativeNetwork(program, HALF, 2, cache)(picture),
        NativeNetwork(program, WHOLE, 2, cache)(picture),
    )


@pytest.mark.parametrize("scale", [4, 2])
@pytest.mark.parametrize(("height", "width"), [(20, 12), (72, 36)])
def test_rrdbnet_is_near_basicsrs(scale: int, height: int, width: int, cache: Path) -> None:
    """RRDBNet with doubling, residuals and unshuffle is within bf16's rounding, and one result for all numbers of threads."""
    theirs, program = small_rrdbnet(scale, 32, 16)
    picture = torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(picture)
    results = [NativeNetwork(program, HALF, threads, cache)(picture) for threads in (1, 2, 7)]
    assert near(results[0], expected) > 45
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_a_second_frame_of_another_size_is_that_frame_alone(cache: Path) -> None:
    """Prepared runs and used memory of one size do not reach into another's."""
    parameters = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 32, "num_conv": 6, "upscale": 2, "act_type": "prelu"}
    torch.manual_seed(6)
    state = {k: v.numpy() for k, v in architecture("srvgg_arch", "SRVGGNetCompact")(**parameters).state_dict().items()}
    program = srvgg.program("made", parameters, state)
    small, large = (
        torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(2)) for size in ((9, 31), (57, 40))
    )
    alone = NativeNetwork(program, HALF, 2, cache)(small)
    used = NativeNetwork(program, HALF, 2, cache)
    for _ in range(2):
        used(large * 1e6)
        assert torch.equal(used(small), alone)


def test_tiled_equals_untiled_exactly(
    pinned: Callable[[str], Pinned], enhancer: Callable[..., Enhancer], photo: torch.Tensor
) -> None:
    """With the native halo tiles give the same bits as the untiled frame, as rounding is the same in both."""
    picture = photo[..., 90:151, 150:321].contiguous()
    size = (picture.shape[-2] * 4, picture.shape[-1] * 4)
    chosen = {"backend": "winograd", "precision": "bf16"}
    whole = enhancer(pinned("realesr-animevideov3"), **chosen).frames(picture, size)
    tiled = enhancer(pinned("realesr-animevideov3"), tile=44, **chosen).frames(picture, size)
    assert torch.equal(whole, tiled)


@pytest.mark.parametrize("model", ["realesr-animevideov3", "RealESRGAN_x4plus_anime_6B"])
def test_photographs_stay_at_50_db(
    model: str, pinned: Callable[[str], Pinned], enhancer: Callable[..., Enhancer], photo: torch.Tensor
) -> None:
    """Real weights on a photograph: at least 50 dB from fp32, which is the gate of the race."""
    picture = photo[..., 60:124, 150:246].contiguous()
    size = (picture.shape[-2] * 4, picture.shape[-1] * 4)
    exact, ours = (
        enhancer(pinned(model), backend=backend, precision=precision).frames(picture, size).clamp(0, 1)
        for backend, precision in (WHOLE, HALF)
    )
    assert -10 * math.log10(float((exact - ours).square().mean())) > 50


def test_narrow_networks_are_not_offered_in_bf16() -> None:
    """Channels that do not fill vectors of 16 leave no native way on such a processor."""
    parameters = {"num_feat": 24, "num_conv": 2, "upscale": 2}
    state = {
        k: v.numpy()
        for k, v in architecture("srvgg_arch", "SRVGGNetCompact")(3, 3, 24, 2, 2, "prelu").state_dict().items()
    }
    program = srvgg.program("odd", parameters, state)
    assert ways(program) == []
