"""Coarse pictures: alike for a frame and its enlargement in any format, unlike for other frames."""

from __future__ import annotations

import numpy as np
import pytest

from media.likeness import SIZE, coarse_picture, unpack_looks
from testkit.materials.draw import frame

FORMATS = [
    "yuv420p",
    "yuv422p10le",
    "yuv444p12le",
    "yuv420p10be",
    "yuva444p",
    "gray",
    "gray16le",
    "nv12",
    "yuyv422",
    "rgb24",
    "gbrp10le",
    "rgb565le",
]


def look(pix_fmt: str, time: float, size: tuple[int, int] = (97, 63)) -> np.ndarray:
    drawn = frame(*size, time, "yuv444p")
    return unpack_looks(coarse_picture(drawn.reformat(format=pix_fmt)))[0].astype(float)


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_formats_and_depths_give_the_same_coarse_picture(pix_fmt: str) -> None:
    """Of one picture, up to rounding and the ranges of RGB and grey; another picture is further away."""
    same, other = look("yuv444p", 3), look("yuv444p", 20)
    found = look(pix_fmt, 3)
    slope, offset = np.polyfit(same, found, 1)
    assert np.abs(same * slope + offset - found).max() < 2.5
    assert np.abs(other * slope + offset - found).max() > 20


def test_an_enlarged_picture_is_alike() -> None:
    """Four times as large, with lanczos, lines left out by the coarse picture of the large one."""
    small = frame(96, 64, 5, "yuv420p")
    large = small.reformat(width=384, height=256, interpolation="LANCZOS")
    one, four = (unpack_looks(coarse_picture(f))[0].astype(float) for f in (small, large))
    assert np.abs(one - four).max() <= 3


@pytest.mark.parametrize("size", [(8, 8), (5, 3), (1, 1), (640, 2), (9, 481)])
def test_pictures_of_any_size_have_one(size: tuple[int, int]) -> None:
    """Smaller than the grid in either direction, too."""
    assert len(coarse_picture(frame(*size, 1, "gray"))) == SIZE


def test_what_networks_cannot_keep_is_left_out() -> None:
    """Luma outside of the limited range looks like its limit; full range is kept."""
    bright = frame(32, 32, 1, "gray").reformat(format="yuv420p")
    bright.planes[0].update(bytes([250]) * bright.planes[0].buffer_size)
    assert set(coarse_picture(bright)) == {235}
    bright.color_range = 2
    assert set(coarse_picture(bright)) == {250}


@pytest.mark.parametrize("pix_fmt", ["uyvy422", "yuyv422", "y210le"])
def test_packed_formats_keep_their_range(pix_fmt: str) -> None:
    """The same numbers as planar ones of the same picture, black and white included."""
    drawn = frame(97, 63, 3, "yuv444p")
    planar = unpack_looks(coarse_picture(drawn.reformat(format="yuv422p")))[0].astype(float)
    packed = unpack_looks(coarse_picture(drawn.reformat(format=pix_fmt)))[0].astype(float)
    assert np.abs(planar - packed).max() <= 1
