"""Colour conversion to RGB and back: lossless within the precision of the pixel format."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, Literal
from unittest.mock import Mock

import av
import numpy as np
import pytest
import torch

from contract.errors import Unsupported
from contract.film import Colour
from workers.film.colour import chroma_location, from_rgb, to_rgb
from workers.film.pixel_layout import layout
from workers.film.planes import read
from workers.llvm import yuv

Matrix = Literal["bt601", "bt709", "bt2020", "rgb", "grey"]
CPU = torch.device("cpu")

YUV = [
    "yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "yuvj420p", "yuvj422p", "yuvj444p",
    "yuv420p9le", "yuv420p10le", "yuv422p10le", "yuv444p12le", "yuv420p14le", "yuv420p16le", "yuv444p16le",
    "nv12", "nv21", "nv16", "nv24", "p010le", "p012le", "p016le", "p210le", "p410le", "p416le",
]  # fmt: skip
GREY = ["gray", "gray9le", "gray10le", "gray12le", "gray14le", "gray16le"]
RGB = ["gbrp", "gbrp9le", "gbrp10le", "gbrp12le", "gbrp14le", "gbrp16le", "rgb24", "bgr24", "rgb48le", "bgr48le"]


def colour_of(pix_fmt: str, matrix: Matrix = "bt709", full: bool = False, location: int = 0) -> Colour:
    model = layout(pix_fmt).model
    if model == "rgb":
        return Colour(matrix="rgb", full=True)
    return Colour(matrix="grey" if model == "grey" else matrix, full=full, chroma_location=location)


def differences(pix_fmt: str, colour: Colour, rgb: torch.Tensor) -> torch.Tensor:
    """Return the difference in code values of each sample of a frame after conversion to RGB and back."""
    there = from_rgb(rgb, pix_fmt, colour)
    back = from_rgb(to_rgb(there, colour), pix_fmt, colour)
    pairs = zip(read(there, layout(pix_fmt), CPU), read(back, layout(pix_fmt), CPU), strict=True)
    return torch.cat([(a.int() - b.int()).abs().flatten() for a, b in pairs])


@pytest.mark.parametrize("pix_fmt", [*YUV, *GREY, *RGB])
@pytest.mark.parametrize(("height", "width"), [(90, 122), (33, 47)])
def test_round_trip_is_within_one_code_value(pix_fmt: str, height: int, width: int, photo: torch.Tensor) -> None:
    """For every matrix, range and depth, a natural image is preserved within 1 code value, with a mean below 0.3."""
    rgb = photo[..., 30 : 30 + height, 180 : 180 + width]
    for matrix, full in product(("bt601", "bt709", "bt2020"), (False, True)):
        off = differences(pix_fmt, colour_of(pix_fmt, matrix, full), rgb)
        assert off.max() <= 1
        assert off.float().mean() < 0.3


@pytest.mark.parametrize("location", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv420p10le", "yuv411p"])
def test_round_trip_at_every_chroma_site(location: int, pix_fmt: str, photo: torch.Tensor) -> None:
    """Unchanged frames are preserved at every chroma site."""
    off = differences(pix_fmt, colour_of(pix_fmt, location=location), photo[..., :64, :80])
    assert off.max() <= 1


def test_round_trip_of_noise_out_of_gamut() -> None:
    """Random code values are preserved, also those outside the RGB cube, as RGB is not clipped."""
    colour = Colour(matrix="bt709", full=False)
    frame = av.VideoFrame(64, 48, "yuv420p")
    generator = np.random.default_rng(2)
    for plane in frame.planes:
        plane.update(generator.integers(0, 256, plane.buffer_size, dtype=np.uint8).tobytes())
    back = from_rgb(to_rgb(frame, colour), "yuv420p", colour)
    for a, b in zip(read(frame, layout("yuv420p"), CPU), read(back, layout("yuv420p"), CPU), strict=True):
        assert (a.int() - b.int()).abs().max() <= 1


NATIVE = pytest.mark.skipif(not yuv.supported(64, 64), reason="this processor has no fused multiply-add on vectors")


def both_ways(
    rgb: torch.Tensor, pix_fmt: str, colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> Iterator[torch.Tensor]:
    """Return for each plane the difference in code values between the one-pass code and PyTorch's passes."""
    with monkeypatch.context() as patched:
        patched.setattr(yuv, "convert", spied := Mock(wraps=yuv.convert))
        ours = from_rgb(rgb, pix_fmt, colour)
        patched.setattr(yuv, "supported", lambda *_: False)
        theirs = from_rgb(rgb, pix_fmt, colour)
    assert spied.call_count == 1
    for a, b in zip(read(ours, layout(pix_fmt), CPU), read(theirs, layout(pix_fmt), CPU), strict=True):
        yield (a.int() - b.int()).abs()


@NATIVE
@pytest.mark.parametrize("location", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize(("pix_fmt", "ties"), [("yuv420p", 1e-3), ("yuv420p10le", 1e-3), ("yuv420p16le", 2e-2)])
@pytest.mark.parametrize(("height", "width"), [(48, 64), (5, 41), (33, 47), (90, 121), (37, 200)])
def test_one_pass_equals_all_passes(
    location: int, pix_fmt: str, ties: float, height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They agree at every site, edge and size, also beyond black and white; values between two codes may round to either."""
    wide = torch.rand((1, 3, height, width + 9), generator=torch.Generator().manual_seed(width)) * 1.4 - 0.2
    rgb = wide[..., 4 : 4 + width]  # rows that do not follow each other
    for matrix, full in product(("bt601", "bt709", "bt2020"), (False, True)):
        for off in both_ways(rgb, pix_fmt, colour_of(pix_fmt, matrix, full, location), monkeypatch):
            assert off.max() <= 1
            assert off.float().mean() <= ties


@NATIVE
@pytest.mark.parametrize("floats", [4, 8])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_one_pass_on_narrower_vectors(floats: int, pix_fmt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code for vectors of 4 and 8 floats is right too, where this processor can run it."""
    monkeypatch.setattr(yuv, "vectors", lambda: (floats, 16))
    monkeypatch.setattr(yuv, "_machine", yuv._machine.__wrapped__)  # nothing of it is kept for other tests
    for height, width in ((5, 24), (33, 47), (90, 121)):
        rgb = torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(width)) * 1.4 - 0.2
        for off in both_ways(rgb, pix_fmt, colour_of(pix_fmt), monkeypatch):
            assert off.max() <= 1
            assert off.float().mean() <= 1e-3


@pytest.mark.parametrize(
    ("codes", "matrix", "full", "expected"),
    [
        ((16, 128, 128), "bt709", False, (0, 0, 0)),
        ((235, 128, 128), "bt709", False, (1, 1, 1)),
        ((0, 128, 128), "bt601", True, (0, 0, 0)),
        ((255, 128, 128), "bt601", True, (1, 1, 1)),
        ((81, 90, 240), "bt601", False, (1, 0, 0)),  # EBU 100 % bars
        ((145, 54, 34), "bt601", False, (0, 1, 0)),
        ((41, 240, 110), "bt601", False, (0, 0, 1)),
        ((63, 102, 240), "bt709", False, (1, 0, 0)),  # BT.709 bars
        ((173, 42, 26), "bt709", False, (0, 1, 0)),
        ((32, 240, 118), "bt709", False, (0, 0, 1)),
    ],
)
def test_colour_bars_are_their_colours(
    codes: tuple[int, int, int], matrix: Matrix, full: bool, expected: tuple[int, int, int]
) -> None:
    """The published code values of colour bars convert to pure colours, and pure colours to those code values."""
    colour = Colour(matrix=matrix, full=full)
    frame = av.VideoFrame(16, 16, "yuv444p")
    for plane, code in zip(frame.planes, codes, strict=True):
        plane.update(bytes([code]) * plane.buffer_size)
    rgb = to_rgb(frame, colour)
    assert torch.allclose(rgb.mean((0, 2, 3)), torch.tensor(expected, dtype=torch.float32), atol=0.01)
    pure = torch.tensor(expected, dtype=torch.float32).reshape(1, 3, 1, 1).expand(1, 3, 16, 16)
    back = from_rgb(pure, "yuv444p", colour)
    assert [int(p.flatten()[0]) for p in (back.to_ndarray()[0], back.to_ndarray()[1], back.to_ndarray()[2])] == list(
        codes
    )


@pytest.mark.parametrize(("matrix", "space"), [("bt601", 5), ("bt709", 1)])
@pytest.mark.parametrize("full", [False, True])
def test_rgb_is_that_of_swscale(matrix: Matrix, space: int, full: bool, photo: torch.Tensor) -> None:
    """Without subsampling RGB equals FFmpeg's within the rounding of its eight bits."""
    colour = Colour(matrix=matrix, full=full)
    frame = from_rgb(photo[..., :64, :64], "yuv444p", colour)
    theirs = frame.reformat(
        format="rgb24", src_colorspace=space, dst_colorspace=space, src_color_range=2 if full else 1, dst_color_range=2
    ).to_ndarray()
    ours = (to_rgb(frame, colour)[0].permute(1, 2, 0).clamp(0, 1) * 255).round().numpy()
    assert np.abs(ours - theirs).max() <= 3
    assert np.abs(ours - theirs).mean() < 0.7


@pytest.mark.parametrize(
    ("location", "first"),
    [(1, (0.5, 0.0)), (2, (0.5, 0.5)), (3, (0.0, 0.0)), (4, (0.0, 0.5)), (5, (1.0, 0.0)), (6, (1.0, 0.5))],
)
def test_chroma_is_interpolated_at_its_location(location: int, first: tuple[float, float]) -> None:
    """A ramp sampled at the chroma samples (row, column of the first, in luma pixels) is a ramp at full size."""
    colour = Colour(matrix="bt709", full=True, chroma_location=location)
    frame = av.VideoFrame(32, 32, "yuv420p16le")
    rows = first[0] + 2 * np.arange(16)[:, None]
    columns = first[1] + 2 * np.arange(16)[None, :]
    for plane, values in zip(
        frame.planes,
        (np.full((32, 32), 30000.0), 32768 + 100 * rows + 0 * columns, 32768 + 0 * rows + 100 * columns),
        strict=True,
    ):
        lines = np.zeros((plane.height, plane.line_size // 2), np.uint16)
        lines[:, : plane.width] = values
        plane.update(lines.tobytes())
    rgb = to_rgb(frame, colour)[0]
    luma = 30000 / 65535
    down = ((rgb[2] - luma) / (2 * (1 - 0.0722)) * 65535)[4:28, 4:28]
    across = ((rgb[0] - luma) / (2 * (1 - 0.2126)) * 65535)[4:28, 4:28]
    ramp = 100 * torch.arange(4, 28, dtype=torch.float32)
    assert torch.allclose(down, ramp[:, None].expand(24, 24), atol=1)
    assert torch.allclose(across, ramp[None, :].expand(24, 24), atol=1)


def test_missing_locations_are_those_that_players_assume() -> None:
    """The default is left for MPEG's formats, top left for BT.2020, the centre for JPEG's; a given location is kept."""
    assert chroma_location("yuv420p", Colour(matrix="bt709", full=False)) == 1
    assert chroma_location("yuv420p10le", Colour(matrix="bt2020", full=False)) == 3
    assert chroma_location("yuvj420p", Colour(matrix="bt601", full=True)) == 2
    assert chroma_location("yuvj420p", Colour(matrix="bt601", full=True, chroma_location=1)) == 1


@pytest.mark.parametrize("pix_fmt", ["yuv420p10be", "yuyv422", "uyvy422", "bgr0", "monow", "gbrp10be"])
def test_rearranged_formats_hold_the_same_values(pix_fmt: str, photo: torch.Tensor) -> None:
    """Big-endian and packed formats are read as the planar format with the same values."""
    plain = {"yuyv422": "yuv422p", "uyvy422": "yuv422p", "bgr0": "rgb24", "monow": "gray"}.get(
        pix_fmt, pix_fmt.replace("be", "le")
    )
    rgb = (photo[..., :32, :32] > 0.5).float() if pix_fmt == "monow" else photo[..., :32, :32]
    if pix_fmt == "monow":
        rgb = rgb[:, :1].expand(-1, 3, -1, -1)
    colour = colour_of(plain, full=pix_fmt == "monow")
    frame = from_rgb(rgb, plain, colour)
    if pix_fmt == "monow":
        frame.color_range = 2
    assert torch.equal(to_rgb(frame.reformat(format=pix_fmt), colour), to_rgb(frame, colour))


@pytest.mark.parametrize("pix_fmt", ["grayf32le", "gbrpf32le", "xyz12le"])
def test_unsupported_formats_are_refused(pix_fmt: str) -> None:
    """Formats of floating point or other colour spaces are refused by name."""
    with pytest.raises(Unsupported, match=f"pixel format {pix_fmt} is not supported"):
        layout(pix_fmt)


def test_yuv_needs_a_matrix() -> None:
    """A plan with the matrix RGB for a YUV format is an error."""
    rgb = torch.zeros((1, 3, 16, 16))
    with pytest.raises(Unsupported, match="needs the matrix"):
        from_rgb(rgb, "yuv420p", Colour(matrix="rgb", full=True))


def test_grey_in_yuv_stays_grey(photo: torch.Tensor) -> None:
    """Grey written as YUV has chroma that is exactly neutral."""
    frame = from_rgb(photo[..., :32, :32], "yuv420p", Colour(matrix="grey", full=False))
    assert (read(frame, layout("yuv420p"), CPU)[1] == 128).all()


def test_frames_carry_the_sources_tags(photo: torch.Tensor) -> None:
    """Matrix, range, primaries and transfer of a frame are those of the source."""
    colour = Colour(matrix="bt2020", full=False, space=9, range=1, primaries=9, transfer=16)
    frame: Any = from_rgb(photo[..., :32, :32], "yuv420p10le", colour)
    assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (9, 1, 9, 16)


def test_padding_of_lines_is_omitted() -> None:
    """Widths whose lines FFmpeg pads give images of exactly that width."""
    for width in (2, 18, 34, 50, 66):
        rgb = torch.rand((1, 3, 6, width), generator=torch.Generator().manual_seed(width))
        frame = from_rgb(rgb, "rgb24", Colour(matrix="rgb", full=True))
        assert frame.to_ndarray().shape == (6, width, 3)
        assert (to_rgb(frame, Colour(matrix="rgb", full=True)) - rgb).abs().max() <= 0.5001 / 255
