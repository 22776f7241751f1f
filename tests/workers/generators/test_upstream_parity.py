"""Parity with upstream: RealESRGANer of the package realesrgan gives the same results for the same weights and pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from contract.job import Weights
from workers.generators import rrdbnet, srvgg
from workers.generators.basicsr_archs import architecture
from workers.generators.enhancer import Enhancer

Pinned = tuple[Weights, Path]
Pin = Callable[[str], Pinned]
Load = Callable[..., Enhancer]
Pixels = npt.NDArray[Any]

SIZES = {"realesr-animevideov3": 64, "RealESRGAN_x4plus_anime_6B": 40, "RealESRGAN_x4plus": 24}
"""Sides in pixels of the test images: upstream takes half a second for each."""


def network(weights: Weights) -> torch.nn.Module:
    """Build basicsr's class with the catalog's parameters, without weights."""
    if weights.architecture == "srvgg":
        made: torch.nn.Module = architecture("srvgg_arch", "SRVGGNetCompact")(**weights.parameters)
    else:
        made = architecture("rrdbnet_arch", "RRDBNet")(**weights.parameters)
    return made


def bgr(rgb: torch.Tensor, top: int = 255) -> Pixels:
    """Convert 1 x 3 x H x W to the layout of cv2.imread."""
    kind = np.uint8 if top == 255 else np.uint16
    return np.ascontiguousarray((rgb[0].permute(1, 2, 0).numpy()[..., ::-1] * top).round().astype(kind))


def codes(rgb: torch.Tensor, top: int = 255) -> Pixels:
    return (rgb[0].permute(1, 2, 0).numpy()[..., ::-1] * top).round().astype(np.int64)


def decibels(ours: Pixels | torch.Tensor, theirs: Pixels | torch.Tensor, peak: float) -> float:
    error = float(np.mean((np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(peak * peak / error)


def piece(photo: torch.Tensor, side: int) -> torch.Tensor:
    return photo[..., 60 : 60 + side, 190 : 190 + side].contiguous()


@pytest.mark.parametrize("name", SIZES)
def test_fp32_is_upstreams_picture(name: str, pinned: Pin, enhancer: Load, upstream: Any, photo: torch.Tensor) -> None:
    """In fp32 every backend's float result matches upstream's at 90 dB or better, and eight-bit codes differ by at most 1."""
    weights, path = pinned(name)
    picture = piece(photo, SIZES[name])
    reference = upstream(network(weights), 4, path)
    theirs, _ = reference.enhance(bgr(picture))
    for backend in ("torch", "openvino", "native"):
        generator = enhancer((weights, path), backend=backend, precision="fp32")
        ours = generator.frames(picture, (SIZES[name] * 4, SIZES[name] * 4))
        assert np.abs(codes(ours) - theirs.astype(np.int64)).max() <= 1
        assert decibels(ours, reference.output.clamp(0, 1), 1.0) >= 90


@pytest.mark.parametrize("name", ["realesr-animevideov3", "RealESRGAN_x4plus_anime_6B"])
def test_bf16_stays_above_50_db(name: str, pinned: Pin, enhancer: Load, upstream: Any, photo: torch.Tensor) -> None:
    """In bf16 a natural image matches upstream's fp32 at 50 dB or better, and the enhancer reports bf16."""
    weights, path = pinned(name)
    picture = piece(photo, 24)
    reference = upstream(network(weights), 4, path)
    reference.enhance(bgr(picture))
    ours = enhancer((weights, path), backend="auto", precision="bf16")
    result = ours.frames(picture, (96, 96))
    assert ours.precision == "bf16"
    assert decibels(result, reference.output.clamp(0, 1), 1.0) >= 50


def test_sixteen_bits_are_upstreams(pinned: Pin, enhancer: Load, upstream: Any, photo: torch.Tensor) -> None:
    """A 16-bit image matches upstream's 16-bit result at 90 dB or better, and the record reports fp32."""
    weights, path = pinned("realesr-animevideov3")
    fine = torch.nn.functional.interpolate(piece(photo, 40), scale_factor=2.0, mode="bilinear")
    fine = (fine * 65535).round() / 65535
    theirs, _ = upstream(network(weights), 4, path).enhance(bgr(fine, 65535))
    generator = enhancer((weights, path), backend="auto", precision="bf16")
    ours = generator.frames(fine, (320, 320), exact=True)
    assert theirs.dtype == np.uint16
    assert decibels(codes(ours, 65535), theirs, 65535) >= 90
    assert generator.record()["precision"] == "fp32"


def test_grey_is_upstreams(pinned: Pin, enhancer: Load, upstream: Any, photo: torch.Tensor) -> None:
    """Grey as three equal channels gives upstream's grey result, computed with the same luma weights."""
    weights, path = pinned("realesr-animevideov3")
    grey = cv2.cvtColor(bgr(piece(photo, 64)), cv2.COLOR_BGR2GRAY)
    theirs, mode = upstream(network(weights), 4, path).enhance(grey)
    shown = torch.from_numpy(grey)[None, None].float().div(255).expand(-1, 3, -1, -1)
    ours = codes(enhancer((weights, path)).frames(shown, (256, 256))).astype(np.uint8)
    assert mode == "L"
    assert np.abs(cv2.cvtColor(ours, cv2.COLOR_BGR2GRAY).astype(int) - theirs.astype(int)).max() <= 1


def test_alpha_through_the_network_is_upstreams(
    pinned: Pin, enhancer: Load, upstream: Any, photo: torch.Tensor
) -> None:
    """Alpha passed through the network as grey gives upstream's alpha (its default, alpha_upsampler='realesrgan')."""
    weights, path = pinned("realesr-animevideov3")
    colour = bgr(piece(photo, 48))
    alpha = np.tile(np.linspace(0, 255, 48).astype(np.uint8), (48, 1))
    theirs, mode = upstream(network(weights), 4, path).enhance(np.dstack([colour, alpha]))
    shown = torch.from_numpy(alpha)[None, None].float().div(255).expand(-1, 3, -1, -1)
    ours = codes(enhancer((weights, path)).frames(shown, (192, 192))).astype(np.uint8)
    assert mode == "RGBA"
    assert np.abs(cv2.cvtColor(ours, cv2.COLOR_BGR2GRAY).astype(int) - theirs[..., 3].astype(int)).max() <= 1


def test_tiles_are_upstreams_untiled_picture(pinned: Pin, enhancer: Load, upstream: Any, photo: torch.Tensor) -> None:
    """Our tiles of SRVGG give upstream's untiled result; upstream's own tiles, with its halo of 10, do not."""
    weights, path = pinned("realesr-animevideov3")
    picture = piece(photo, 96)
    whole, _ = upstream(network(weights), 4, path).enhance(bgr(picture))
    tiled, _ = upstream(network(weights), 4, path, tile=32, tile_pad=10).enhance(bgr(picture))
    ours = codes(enhancer((weights, path), tile=32).frames(picture, (384, 384)))
    assert np.abs(ours - whole.astype(np.int64)).max() <= 1
    assert np.abs(tiled.astype(np.int64) - whole.astype(np.int64)).max() > 1


def test_larger_outscale_is_upstreams(pinned: Pin, enhancer: Load, upstream: Any, photo: torch.Tensor) -> None:
    """An output scale above the network's own gives upstream's result to one code value: the same Lanczos kernel and edges."""
    weights, path = pinned("realesr-animevideov3")
    picture = piece(photo, 48)
    theirs, _ = upstream(network(weights), 4, path).enhance(bgr(picture), outscale=5.5)
    ours = codes(enhancer((weights, path)).frames(picture, (264, 264)))
    assert np.abs(ours - theirs.astype(np.int64)).max() <= 1


def test_a_smaller_outscale_averages_pixels(pinned: Pin, enhancer: Load, upstream: Any, photo: torch.Tensor) -> None:
    """At an output scale of 2 our result is nearer to the area average of the x4 result than upstream's, and near upstream's."""
    weights, path = pinned("realesr-animevideov3")
    picture = piece(photo, 96)
    reference = upstream(network(weights), 4, path)
    theirs, _ = reference.enhance(bgr(picture), outscale=2)
    ours = codes(enhancer((weights, path)).frames(picture, (192, 192)))
    average = codes(torch.nn.functional.avg_pool2d(reference.output.clamp(0, 1), 2))
    assert decibels(ours, theirs, 255) >= 35
    assert decibels(ours, average, 255) > decibels(theirs, average, 255)


@pytest.mark.parametrize(("scale", "sides"), [(2, (33, 46)), (1, (35, 42))])
@pytest.mark.parametrize("backend", ["torch", "openvino", "native"])
def test_pixel_unshuffle_pads_as_upstream(
    scale: int, sides: tuple[int, int], backend: str, written: Any, enhancer: Load, upstream: Any, photo: torch.Tensor
) -> None:
    """x2 and x1 networks, which take the image pixel-unshuffled, give upstream's result for sizes that are not multiples."""
    parameters = {"num_in_ch": 3, "num_out_ch": 3, "scale": scale, "num_feat": 32, "num_block": 1, "num_grow_ch": 16}
    torch.manual_seed(7)
    made = architecture("rrdbnet_arch", "RRDBNet")(**parameters)
    weights, path = written({k: v.numpy() for k, v in made.state_dict().items()}, "rrdbnet", parameters)
    picture = photo[..., : sides[0], : sides[1]].contiguous()
    reference = upstream(made, scale, path)
    reference.enhance(bgr(picture))
    ours = enhancer((weights, path), backend=backend).frames(picture, (sides[0] * scale, sides[1] * scale))
    assert decibels(ours, reference.output.clamp(0, 1), 1.0) >= 90


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_denoise_mixes_as_upstream(
    strength: float, written: Any, enhancer: Load, upstream: Any, photo: torch.Tensor
) -> None:
    """A denoise strength mixes the two networks' weights as upstream's dni_weight = [strength, 1 - strength] does."""
    parameters = {
        "num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_conv": 3, "upscale": 4, "act_type": "prelu",
    }  # fmt: skip
    torch.manual_seed(3)
    pair = []
    for name, role in (("general", "generator"), ("wdn", "denoise")):
        made = architecture("srvgg_arch", "SRVGGNetCompact")(**parameters)
        state = {k: v.numpy() for k, v in made.state_dict().items()}
        pair.append(written(state, "srvgg", parameters, name, role))
    picture = piece(photo, 32)
    reference = upstream(network(pair[0][0]), 4, pair[0][1], pair[1][1], dni_weight=[strength, 1 - strength])
    reference.enhance(bgr(picture))
    ours = enhancer(*pair, denoise=strength).frames(picture, (128, 128))
    assert decibels(ours, reference.output.clamp(0, 1), 1.0) >= 90


def test_operations_are_those_of_the_design() -> None:
    """The operations for each input pixel, used for probes and shares of peak, are the published ones."""
    srvgg16 = {"num_feat": 64, "num_conv": 16, "upscale": 4}
    assert srvgg.describe("v3", srvgg16).flops == pytest.approx(1.24e6, rel=0.01)
    assert srvgg.describe("x4v3", {**srvgg16, "num_conv": 32}).flops == pytest.approx(2.42e6, rel=0.01)
    assert rrdbnet.describe("x4", {"scale": 4, "num_block": 23}).flops == pytest.approx(35.85e6, rel=0.01)
    assert rrdbnet.describe("6B", {"scale": 4, "num_block": 6}).flops == pytest.approx(11.41e6, rel=0.01)
    assert rrdbnet.describe("x2", {"scale": 2, "num_block": 23}).flops == pytest.approx(8.97e6, rel=0.01)
