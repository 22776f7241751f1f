"""Generators on a GPU. Skipped without one; run `pytest tests/workers/generators/test_cuda.py` on a machine with a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from contract.film import Colour
from contract.job import Spec, Weights
from contract.settings import Settings
from testkit.materials.in_process import restore
from testkit.natural_clips import make_moving
from workers.card import plane_trial
from workers.card.convolution import TILES, Kind
from workers.card.layer_trial import accuracy
from workers.card.planes import shapes
from workers.card.proof import Proofs
from workers.film.colour import from_rgb, to_rgb
from workers.film.pixel_layout import layout
from workers.film.planes import read
from workers.generators import registry
from workers.generators.enhancer import Enhancer
from workers.generators.fused import FusedModule, FusedNetwork, kind_of
from workers.generators.plane_module import PlaneModule
from workers.generators.torch_backend import OFTEN

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

Pinned = tuple[Weights, Path]
CPU = torch.device("cpu")
KINDS = {
    "first": Kind((3,), 64, True, 0, False),
    "body": Kind((64,), 64, True, 0, False),
    "last": Kind((64,), 48, False, 0, False),
    "dense": Kind((64, 96), 32, True, 0, False),
    "residuals": Kind((64, 128), 64, False, 2, False),
    "doubling": Kind((64,), 64, True, 0, True),
}


def on(device: str, pinned: Pinned, cache: Path, precision: str, **fields: Any) -> Enhancer:
    weights, path = pinned
    spec = Spec(model=weights.name, weights=(weights,), precision=precision, **fields)  # type: ignore[arg-type]
    return registry.load(spec, {weights.sha256: path}, Settings(cache=cache, device=device, backend="torch"))


def decibels(a: torch.Tensor, b: torch.Tensor) -> float:
    error = float((a.cpu() - b.cpu()).square().mean())
    return -10 * math.log10(error) if error else math.inf


@pytest.mark.parametrize("name", ["realesr-animevideov3", "RealESRGAN_x4plus_anime_6B"])
def test_precisions(name: str, pinned: Callable[[str], Pinned], tmp_path: Path, photo: torch.Tensor) -> None:
    """In fp32 (not TF32) GPU and CPU agree to one code value; fp16 has a PSNR of at least 50 dB against it."""
    shown, size = photo[..., 60:124, 190:286].contiguous(), (256, 384)
    exact = on("cpu", pinned(name), tmp_path, "fp32").frames(shown, size)
    full = on("cuda", pinned(name), tmp_path, "fp32").frames(shown.cuda(), size)
    half = on("cuda", pinned(name), tmp_path, "fp16").frames(shown.cuda(), size)
    assert float((full.cpu() - exact).abs().max()) <= 1 / 255
    assert decibels(full, exact) >= 90
    assert decibels(half, exact) >= 50


def test_graphs_and_compiled_kernels(pinned: Callable[[str], Pinned], tmp_path: Path, photo: torch.Tensor) -> None:
    """Eager, recorded and compiled runs of one shape agree to 50 dB, and earlier results stay unchanged."""
    generator = on("cuda", pinned("realesr-animevideov3"), tmp_path, "fp16")
    results = []
    for n in range(OFTEN + 6):  # never the same frame twice, so that none is reused
        shown = photo[..., n : n + 96, 100:228].contiguous().cuda()
        results.append((shown, generator.frames(shown, (384, 512))))
    assert generator._network._recorded  # type: ignore[attr-defined]
    exact = on("cuda", pinned("realesr-animevideov3"), tmp_path, "fp32")
    assert min(decibels(made, exact.frames(shown, (384, 512))) for shown, made in results) >= 50


def test_memory_that_is_short(pinned: Callable[[str], Pinned], tmp_path: Path, photo: torch.Tensor) -> None:
    """When the GPU's memory is full the tile is halved, the result is the same, and the record reports it."""
    shown = photo.repeat(1, 1, 2, 2).cuda()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    roomy = on("cuda", pinned("realesr-animevideov3"), tmp_path, "fp32").frames(shown, (4096, 4096))
    taken = torch.cuda.max_memory_allocated() - before
    generator = on("cuda", pinned("realesr-animevideov3"), tmp_path, "fp32", tile=1024)
    torch.cuda.empty_cache()
    # Less than the frame has just taken as one tile, and more than its result of 201 MB with a tile of half the side beside it.
    rest = torch.cuda.mem_get_info()[0] - taken * 3 // 4
    filled = torch.empty(rest, dtype=torch.uint8, device="cuda")
    assert torch.cuda.mem_get_info()[0] < taken
    tight = generator.frames(shown, (4096, 4096))
    del filled
    assert int(str(generator.record()["out_of_memory"])) >= 1
    assert decibels(tight, roomy) >= 90


def test_trials_prove_the_kernels(tmp_path: Path) -> None:
    """On this card the colour kernels are right, and Triton's convolutions are right in every kind of layer."""
    proofs = Proofs(torch.device("cuda"), tmp_path)
    outcome = proofs.outcome("workers.film.card_trial")
    assert outcome is not None
    assert outcome["right"], outcome
    for name, tile in product(KINDS, TILES[:2]):
        assert accuracy(KINDS[name], tile, torch.device("cuda"), (2, 37, 53)) >= 60, (name, tile)


@pytest.mark.parametrize("planes", [False, True], ids=["Triton", "planes"])
@pytest.mark.parametrize("name", ["realesr-animevideov3", "RealESRGAN_x4plus_anime_6B"])
def test_fused_networks(
    name: str, planes: bool, pinned: Callable[[str], Pinned], tmp_path: Path, photo: torch.Tensor
) -> None:
    """With every layer in a kernel of ours a network reaches 50 dB, eager and recorded, and earlier results stay unchanged."""
    weights, path = pinned(name)
    spec = Spec(model=weights.name, weights=(weights,))
    program = registry._program(
        registry.FAMILIES[weights.architecture], weights, registry._state(spec, weights, {weights.sha256: path})
    )
    card = torch.device("cuda", 0)
    if planes and not plane_trial.fits(card):
        pytest.skip("the card is not a Hopper")
    kinds = {c: kind_of(c) for c in (*program.body, *program.tail)}
    module = (
        PlaneModule(program, card, kinds, {kind: shapes(plane_trial.plain(kind))[0] for kind in kinds.values()})
        if planes
        else FusedModule(program, card, dict.fromkeys(kinds.values(), TILES[0]))
    )
    network = FusedNetwork(program, module, card)
    exact = on("cuda", pinned(name), tmp_path, "fp32")
    shown = [photo[..., n : n + 64, 190:286].contiguous().cuda() for n in range(4)]
    made = [network(one) for one in shown]
    assert network._recorded
    assert min(decibels(a.clamp(0, 1), exact.frames(b, (256, 384))) for a, b in zip(made, shown, strict=True)) >= 50


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "nv12", "yuv420p10le", "p010le", "yuv444p", "gbrp10le"])
def test_colour(pix_fmt: str, photo: torch.Tensor) -> None:
    """Conversion to RGB and back gives the same frames on the GPU as on the CPU, to one code value."""
    rgb = layout(pix_fmt).model == "rgb"
    colour = Colour(matrix="rgb" if rgb else "bt709", full=rgb)
    frame = from_rgb(photo[..., 30:121, 180:303], pix_fmt, colour)
    back = from_rgb(to_rgb(frame, colour, "cuda"), pix_fmt, colour)
    for a, b in zip(read(frame, layout(pix_fmt), CPU), read(back, layout(pix_fmt), CPU), strict=True):
        assert int((a.int() - b.int()).abs().max()) <= 1


def test_a_film_through_all_stages(pinned: Callable[[str], Pinned], tmp_path: Path) -> None:
    """Decoding, network and encoding on separate streams lose and mix no frame: two runs agree, and match the CPU's at 45 dB."""
    film = make_moving(tmp_path / "film.mp4", 40, (160, 120))
    spec = Spec(model="realesr-animevideov3", scale=2.0, codec="ffv1")
    made = {}
    for name, device in (("first", "cuda"), ("second", "cuda"), ("cpu", "cpu")):
        generator = on(device, pinned("realesr-animevideov3"), tmp_path, "auto" if device == "cuda" else "fp32")
        data = restore(film, "out.mkv", spec, tmp_path, generator).data
        out = tmp_path / f"{name}.mkv"
        out.write_bytes(data)
        with av.open(str(out)) as container:
            made[name] = [f.to_ndarray().astype(np.float64) for f in container.decode(video=0)]
    assert [len(frames) for frames in made.values()] == [40, 40, 40]
    for first, second, cpu in zip(*made.values(), strict=True):
        assert np.abs(first - second).max() <= 1
        assert 10 * math.log10(255**2 / max(float(np.mean((first - cpu) ** 2)), 1e-9)) >= 45
