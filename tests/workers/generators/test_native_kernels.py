"""Native convolutions in fp32: accurate to fp32's rounding, for all sizes, shapes and numbers of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
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
from workers.generators.native import winograd
from workers.generators.native.memory import ThreadTeam, View
from workers.generators.native.network import NativeNetwork
from workers.generators.native.program import Convolution, Program, Slice, fills_vectors
from workers.generators.native.winograd_layers import few_layers
from workers.llvm import machine

Pinned = tuple[Weights, Path]

pytestmark = pytest.mark.skipif(machine.vectors() is None, reason="this processor has no fused multiply-add on vectors")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of machine code that the tests share, as processes do."""
    return tmp_path_factory.mktemp("cache")


def near(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Return whether results agree within fp32's rounding of sums: errors at most 3e-5 of the peak, 3e-6 on average."""
    peak, error = float(theirs.abs().max()), (ours.double() - theirs.double()).abs()
    return float(error.max()) <= 3e-5 * peak and float(error.mean()) <= 3e-6 * peak


RANDOM = np.random.default_rng(8)


def random(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("double", [False, True])
def test_the_transforms_are_a_convolution(double: bool) -> None:
    """A^T [(G g G^T) * (B^T d B)] A is the 3x3 correlation of d with g, which is the defining identity."""
    d, g = RANDOM.standard_normal((6, 6)), random(1, 1, 3, 3)
    if double:  # the tile's first pixel is a small pixel's first: its neighbour before is another small pixel's second
        d = d[:4, :4].repeat(2, 0).repeat(2, 1)[1:7, 1:7]
    transforms = winograd.DOUBLED if double else winograd.PLAIN
    op = winograd.Arithmetic(np.add, np.subtract, lambda x, c, y: x * c + (0 if y is None else y))

    def twice(grid: Any, transform: Any) -> Any:
        columns = np.array([transform(list(c)) for c in grid.T]).T
        return np.array([transform(list(r)) for r in columns])

    spread = twice(d, lambda c: transforms.input_rows(c, op))
    product = spread * transforms.weights(g, 1, 1).reshape(spread.shape)
    made = twice(product, lambda c: transforms.output_rows(c, op))
    expected = [[(d[i : i + 3, j : j + 3] * g[0, 0]).sum() for j in range(4)] for i in range(4)]
    assert np.allclose(made, expected, atol=1e-5)


def network(tmp_path: Path, convolution: Convolution, channels: dict[str, int], threads: int = 2) -> NativeNetwork:
    """Build a program of a first convolution, one of up to 64 channels, and a last one."""
    first = Convolution(
        (Slice("in", 0, 3),), Slice("a", 0, channels["a"]), random(channels["a"], 3, 3, 3), random(channels["a"])
    )
    last = Convolution(
        (convolution.output,), Slice("out", 0, 3), random(3, convolution.output.channels, 3, 3) * 0.05, random(3)
    )
    return NativeNetwork(
        Program(1, {**channels, "in": 3, "out": 3}, (first, convolution, last)), ("native", "fp32"), threads, tmp_path
    )


def reference(network: NativeNetwork, picture: torch.Tensor) -> torch.Tensor:
    """Run the same program in torch, in float64."""
    buffers = {"in": picture.double()}
    for c in network._program.body:
        x = torch.cat([buffers[s.buffer][:, s.first : s.first + s.channels] for s in c.inputs], 1)
        weight, bias = torch.from_numpy(c.weight).double(), torch.from_numpy(c.bias).double()
        y = torch.nn.functional.conv2d(x, weight, bias, padding=1)
        if c.slopes is not None:
            y = torch.nn.functional.prelu(y, torch.from_numpy(c.slopes).double())
        for s, factor in c.residuals:
            y = y + factor * buffers[s.buffer][:, s.first : s.first + s.channels]
        held = buffers.get(c.output.buffer)
        if held is None:
            held = torch.zeros((1, network._program.channels[c.output.buffer], *y.shape[-2:]), dtype=torch.float64)
        held = held.clone()
        held[:, c.output.first : c.output.first + c.output.channels] = y
        buffers[c.output.buffer] = held
    return buffers["out"]


def one_layer(kind: str) -> tuple[Convolution, dict[str, int]]:
    """Make a convolution of a `kind` with random weights, and the channels of its buffers."""
    a = Slice("a", 0, 64)
    inputs = (a, Slice("a", 16, 32)) if kind == "two inputs" else (a,)
    outputs = 32 if kind == "leaky" else 64
    count = sum(s.channels for s in inputs)
    residuals = {"one residual": ((a, 0.7),), "two residuals": ((a, -0.3), (a, 1.0))}.get(kind, ())
    slopes = np.abs(random(outputs)) if kind == "leaky" else None
    weight, bias = random(outputs, count, 3, 3) * 0.05, random(outputs)
    return Convolution(inputs, Slice("b", 0, outputs), weight, bias, slopes, residuals), {"a": 64, "b": outputs}


KINDS = ["plain", "leaky", "two inputs", "one residual", "two residuals"]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (5, 7), (33, 130), (16, 97)])
@pytest.mark.parametrize("kind", KINDS)
def test_one_layer_equals_torchs(height: int, width: int, kind: str, cache: Path) -> None:
    """Every kind of layer equals torch's in float64 to fp32's rounding, also for partial tiles and for one pixel."""
    layer, channels = one_layer(kind)
    picture = torch.from_numpy(random(1, 3, height, width))
    for threads in (1, 3):
        made = network(cache, layer, channels, threads)
        for _ in range(2):  # the second time with memory that was used
            assert near(made(picture), reference(made, picture))


@pytest.mark.skipif(not machine.features().get("avx512f"), reason="this processor has no AVX-512 to do without")
@pytest.mark.parametrize("kind", KINDS)
def test_one_layer_equals_torchs_without_avx512(kind: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code for AVX2, of half the width and half the registers, computes the same; a processor with AVX-512 runs it, too."""
    able = {name: has and not name.startswith("avx512") for name, has in machine.features().items()}
    monkeypatch.setattr(machine, "features", lambda: able)
    assert machine.vectors() == (8, 16)
    layer, channels = one_layer(kind)
    made = network(cache, layer, channels)
    picture = torch.from_numpy(random(1, 3, 33, 57))
    assert near(made(picture), reference(made, picture))


def test_old_buffer_contents_do_not_affect_results(cache: Path) -> None:
    """After a large frame a small one gives the same result as alone, as its borders are set to zero."""
    layer = Convolution((Slice("a", 0, 16),), Slice("b", 0, 16), random(16, 16, 3, 3), random(16))
    made = network(cache, layer, {"a": 16, "b": 16})
    small = torch.from_numpy(random(1, 3, 9, 11))
    alone = made(small)
    made(torch.full((1, 3, 40, 50), 1e6))
    assert torch.equal(made(small), alone)


@pytest.mark.parametrize("scale", [4, 2, 1])
@pytest.mark.parametrize(("height", "width"), [(20, 12), (72, 36), (44, 40)])
def test_rrdbnet_equals_basicsrs(scale: int, height: int, width: int, cache: Path) -> None:
    """RRDBNet with doubling, residuals and unshuffle equals basicsr's, also at the seams of its tail's strips."""
    theirs, program = small_rrdbnet(scale, 32, 16)
    ours = NativeNetwork(program, ("native", "fp32"), 2, cache)
    picture = torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(picture)
    assert expected.abs().max() > 0.1
    assert near(ours(picture), expected)


@pytest.mark.parametrize("activation", ["prelu", "relu", "leakyrelu"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_srvgg_equals_basicsrs(activation: str, scale: int, cache: Path) -> None:
    """SRVGGNetCompact with each activation and scale equals basicsr's, also for a batch."""
    parameters = {
        "num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_conv": 3, "upscale": scale, "act_type": activation,
    }  # fmt: skip
    torch.manual_seed(6)
    theirs = architecture("srvgg_arch", "SRVGGNetCompact")(**parameters).eval()
    state = {k: v.numpy() for k, v in theirs.state_dict().items()}
    ours = NativeNetwork(srvgg.program("made", parameters, state), ("native", "fp32"), 2, cache)
    pictures = torch.rand((2, 3, 18, 31), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert near(ours(pictures), theirs(pictures))


@pytest.mark.parametrize("tile", [44])
def test_tiled_equals_untiled_exactly(
    tile: int, pinned: Callable[[str], Pinned], enhancer: Callable[..., Enhancer], photo: torch.Tensor
) -> None:
    """With its own, wider halo the native backend's tiles give the same bits as the untiled frame."""
    picture = photo[..., 90:151, 150:321].contiguous()
    size = (picture.shape[-2] * 4, picture.shape[-1] * 4)
    chosen = {"backend": "native", "precision": "fp32"}
    whole = enhancer(pinned("realesr-animevideov3"), **chosen).frames(picture, size)
    tiled = enhancer(pinned("realesr-animevideov3"), tile=tile, **chosen).frames(picture, size)
    assert torch.equal(whole, tiled)


@pytest.mark.parametrize(("size", "most"), [((192, 256), 5), ((480, 640), 5), ((1080, 1920), 1)])
def test_a_dense_block_is_one_run_unless_it_is_long(size: tuple[int, int], most: int) -> None:
    """Its layers read one input. A job can be stopped only between two runs, so that long layers are runs of their own."""
    body = small_rrdbnet(4, 64, 32)[1].body
    runs = list(few_layers(body, dict.fromkeys((s.output.buffer for s in body), sized(*size))))
    assert [layer for run in runs for layer in run] == list(body)
    assert [len(run) for run in runs] == [1, *[most] * (30 // most), 1], "the first layer, six blocks, the last layer"


def test_the_layers_of_a_chain_are_runs_of_their_own() -> None:
    """They share no input, so that nothing would be in the cache for longer."""
    parameters = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_conv": 3, "upscale": 2, "act_type": "prelu"}
    state = {k: v.numpy() for k, v in architecture("srvgg_arch", "SRVGGNetCompact")(**parameters).state_dict().items()}
    body = srvgg.program("made", parameters, state).body
    assert list(few_layers(body, dict.fromkeys(("a", "b", "out"), sized(9, 9)))) == [(layer,) for layer in body]


def test_a_layer_that_doubles_its_input_is_in_no_run_with_one_that_does_not() -> None:
    """All layers of a run have as many rows of tiles as the first, so that their outputs must have one size."""
    plain = Convolution(
        (Slice("x", 0, 16),), Slice("y", 0, 16), np.zeros((16, 16, 3, 3), np.float32), np.zeros(16, np.float32)
    )
    doubled = replace(plain, output=Slice("z", 0, 16), double=True)
    views = {"y": sized(9, 9), "z": sized(18, 18)}
    assert list(few_layers((plain, plain, doubled), views)) == [(plain, plain), (doubled,)]


def sized(height: int, width: int) -> View:
    """Return a view of that size; who splits layers into runs reads nothing else of it."""
    return View(np.zeros((1, 1, 1, 1), np.float32), height, width)


def test_networks_of_odd_widths_are_not_offered() -> None:
    """A network whose channels do not fill vectors is not offered, as it would read beyond its buffers."""
    parameters = {"num_feat": 24, "num_conv": 2, "upscale": 2}
    state = {
        k: v.numpy()
        for k, v in architecture("srvgg_arch", "SRVGGNetCompact")(3, 3, 24, 2, 2, "prelu").state_dict().items()
    }
    assert not fills_vectors(srvgg.program("odd", parameters, state), 16)
    assert fills_vectors(srvgg.program("odd", parameters, state), 8)


def test_machine_code_is_kept_and_checked(tmp_path: Path) -> None:
    """A second network loads machine code from disk; damaged code is not run but compiled again."""
    layer = Convolution((Slice("a", 0, 16),), Slice("b", 0, 16), random(16, 16, 3, 3), random(16))
    made = network(tmp_path, layer, {"a": 16, "b": 16})
    picture = torch.from_numpy(random(1, 3, 9, 11))
    first = made(picture)
    kept = list((tmp_path / "compiled").glob("*.native"))
    assert len(kept) == 2, "the layers' code and that of the end"
    damaged = {path: bytearray(path.read_bytes()) for path in kept}
    for path, data in damaged.items():
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(bytes(data))
    again = NativeNetwork(made._program, ("native", "fp32"), 1, tmp_path)
    assert torch.equal(again(picture), first)
    assert all(path.read_bytes() != bytes(data) for path, data in damaged.items())


def test_a_time_limit_during_a_run_leaves_no_thread_at_work() -> None:
    """An exception of a time limit leaves `run` only after all helpers have stopped working on the memory."""
    team, begun, released = ThreadTeam(2), threading.Event(), threading.Event()
    ended = []

    def call(caller: int) -> None:
        if caller:
            begun.set()
            released.wait(10)
            ended.append(caller)
            return
        begun.wait(10)
        threading.Timer(0.1, released.set).start()
        raise TimeoutError

    with pytest.raises(TimeoutError):
        team.run(call, [(0,), (1,)])
    assert ended == [1]
