"""Native convolutions on a matrix unit: as accurate as bf16 operands and fp32 sums allow, for all sizes, shapes and threads."""

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
from workers.generators.native.network import NativeNetwork
from workers.generators.native.program import Convolution, Program, Slice
from workers.llvm.machine import has_matrix_unit

Pinned = tuple[Weights, Path]

pytestmark = pytest.mark.skipif(not has_matrix_unit(), reason="this processor has no matrix unit for bf16")

RANDOM = np.random.default_rng(9)


def random(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of machine code that the tests share, as processes do."""
    return tmp_path_factory.mktemp("cache")


def rounded(x: torch.Tensor) -> torch.Tensor:
    return x.float().bfloat16().double()


def reference(program: Program, picture: torch.Tensor) -> torch.Tensor:
    """Run the program in torch: float64 sums of buffers and weights rounded to bf16; the input is not rounded."""
    buffers = {"in": picture.double()}
    for c in (*program.body, *program.tail):
        x = torch.cat([buffers[s.buffer][:, s.first : s.first + s.channels] for s in c.inputs], 1)
        weight = torch.from_numpy(c.weight).double()
        if c.inputs[0].buffer != "in" and not c.double:
            weight = rounded(weight)
        x = torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest") if c.double else x
        y = torch.nn.functional.conv2d(x, weight, torch.from_numpy(c.bias).double(), padding=1)
        if c.slopes is not None:
            y = torch.nn.functional.prelu(y, torch.from_numpy(c.slopes).double())
        for s, factor in c.residuals:
            y = y + factor * buffers[s.buffer][:, s.first : s.first + s.channels]
        target = c.output
        held = buffers.get(target.buffer)
        if held is None or held.shape[-2:] != y.shape[-2:]:
            held = torch.zeros((1, program.channels[target.buffer], *y.shape[-2:]), dtype=torch.float64)
        held = held.clone()
        held[:, target.first : target.first + target.channels] = y if target.buffer == "out" else rounded(y)
        buffers[target.buffer] = held
    return buffers["out"]


def off(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Return the error's root mean square as a share of the result's."""
    return float(((ours.double() - theirs).square().mean() / theirs.square().mean()).sqrt())


NEAR = 2e-3
"""Some values are 0.4% off, as their sum in another order rounds to the next bf16; with one rounding too many all would be."""


def one_layer(kind: str) -> Program:
    """Build a program of a first convolution, one of up to 96 channels, and a last one."""
    a = Slice("a", 0, 96)
    inputs = (Slice("a", 0, 64), Slice("a", 32, 64)) if kind == "two inputs" else (a,)
    outputs = {"leaky": 32, "narrow": 48, "wide": 128}.get(kind, 96)
    b = Slice("b", 32, outputs) if kind == "beside" else Slice("b", 0, outputs)
    residuals = {"one residual": ((a, 0.7),), "two residuals": ((a, -0.3), (a, 1.0))}.get(kind, ())
    layer = Convolution(
        inputs,
        b,
        random(outputs, sum(s.channels for s in inputs), 3, 3) * 0.05,
        random(outputs),
        np.abs(random(outputs)) if kind == "leaky" else None,
        residuals,
        kind == "double",
    )
    first = Convolution((Slice("in", 0, 3),), a, random(96, 3, 3, 3), random(96))
    held = Slice("b", 0, b.first + -(-outputs // 32) * 32)
    last = Convolution((held,), Slice("out", 0, 3), random(3, held.channels, 3, 3) * 0.05, random(3))
    channels = {"a": 96, "b": held.channels, "in": 3, "out": 3}
    if kind == "double":
        return Program(2, channels, (first,), (layer, last), reach=2)
    return Program(1, channels, (first, layer, last))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (5, 7), (33, 130), (35, 97)])
@pytest.mark.parametrize(
    "kind", ["plain", "leaky", "narrow", "wide", "beside", "two inputs", "one residual", "two residuals", "double"]
)
def test_one_layer_equals_torchs(height: int, width: int, kind: str, cache: Path) -> None:
    """Every kind of layer equals torch's for any number of threads, and gives the same bits each time."""
    program = one_layer(kind)
    picture = torch.from_numpy(random(1, 3, height, width))
    expected = reference(program, picture)
    made = [NativeNetwork(program, ("native", "bf16"), threads, cache) for threads in (1, 3)]
    results = [network(picture) for network in made for _ in range(2)]  # the second time with memory that was used
    assert off(results[0], expected) < (
        2 * NEAR if kind == "double" else NEAR
    )  # its weights are rounded when they are added
    assert all(torch.equal(result, results[0]) for result in results)


def test_old_buffer_contents_do_not_affect_results(cache: Path) -> None:
    """After a large frame, and one of NaN, a small frame gives the same result as alone."""
    made = NativeNetwork(one_layer("plain"), ("native", "bf16"), 2, cache)
    small = torch.from_numpy(random(1, 3, 9, 11))
    alone = made(small)
    made(torch.full((1, 3, 40, 50), 1e6))
    made(torch.full((1, 3, 41, 51), math.nan))
    assert torch.equal(made(small), alone)
    for size in ((12, 12), (9, 12), (12, 11), (9, 11)):  # all in the same buffers
        made(torch.full((1, 3, *size), 1e6))
    assert torch.equal(made(small), alone)


def test_nan_is_passed_on(cache: Path) -> None:
    """NaN in the input gives NaN in the result, so that it is detected, and only where the convolutions reach."""
    made = NativeNetwork(one_layer("leaky"), ("native", "bf16"), 2, cache)
    picture = torch.from_numpy(random(1, 3, 20, 40))
    clean = made(picture)
    picture[0, 1, 10, 20] = math.nan
    spoilt = made(picture)
    assert spoilt[..., 10, 20].isnan().all()
    assert torch.equal(spoilt[..., :7, :], clean[..., :7, :])


def decibels(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return -10 * math.log10(float((ours.clamp(0, 1) - theirs.clamp(0, 1)).square().mean()))


@pytest.mark.parametrize("scale", [4, 2, 1])
@pytest.mark.parametrize(("height", "width"), [(20, 12), (72, 36)])
def test_rrdbnet_equals_basicsrs(scale: int, height: int, width: int, cache: Path) -> None:
    """RRDBNet with doubling, residuals and unshuffle equals basicsr's, also at the seams of its tail's strips."""
    theirs, program = small_rrdbnet(scale, 64, 32)
    picture = torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(picture)
    assert expected.abs().max() > 0.1
    assert off(NativeNetwork(program, ("native", "bf16"), 2, cache)(picture), expected.double()) < 2e-2


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_srvgg_equals_basicsrs(scale: int, cache: Path) -> None:
    """SRVGGNetCompact equals basicsr's at each scale, also for a batch."""
    parameters = {
        "num_in_ch": 3, "num_out_ch": 3, "num_feat": 32, "num_conv": 3, "upscale": scale, "act_type": "prelu",
    }  # fmt: skip
    torch.manual_seed(6)
    theirs = architecture("srvgg_arch", "SRVGGNetCompact")(**parameters).eval()
    state = {k: v.numpy() for k, v in theirs.state_dict().items()}
    ours = NativeNetwork(srvgg.program("made", parameters, state), ("native", "bf16"), 2, cache)
    pictures = torch.rand((2, 3, 18, 31), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert decibels(ours(pictures), theirs(pictures)) > 60


@pytest.mark.parametrize("tile", [44])
def test_tiled_and_patched_equal_whole_exactly(
    tile: int, pinned: Callable[[str], Pinned], enhancer: Callable[..., Enhancer], photo: torch.Tensor
) -> None:
    """Tiled and patched frames have the same bits as whole ones in bf16 too, as direct convolutions compute all pixels alike."""
    chosen = {"backend": "native", "precision": "bf16"}
    picture = photo[..., :192, :448].contiguous()
    other = picture.clone()
    other[..., 160:180, 410:440] = photo[..., 300:320, 300:330]
    moving = enhancer(pinned("realesr-animevideov3"), **chosen)
    moving.frames(picture, (768, 1792))
    patched = moving.frames(other, (768, 1792))
    alone = enhancer(pinned("realesr-animevideov3"), **chosen).frames(other, (768, 1792))
    tiled = enhancer(pinned("realesr-animevideov3"), tile=tile, **chosen).frames(other, (768, 1792))
    assert moving.record()["frames_patched"] == 1
    assert torch.equal(patched, alone)
    assert torch.equal(tiled, alone)
