"""Exact conversion of a film's code values to RGB on the device, and back.

The matrices are those of ITU-R BT.601-7, BT.709-6 and BT.2020-2 (constants Kr and Kb); the ranges are those of their tables of
digital levels. Chroma is interpolated to full size linearly at its true position, and reduced by
the shortest symmetric filters that exactly invert that interpolation (the analysis halves of the
biorthogonal 5/3 and 3/1 wavelets of Cohen, Daubechies and Feauveau, 1992), so that unchanged pixels keep their code values.
"""

from __future__ import annotations

from collections.abc import Callable

import av
import numpy as np
import torch

from contract.errors import Unsupported
from contract.film import Colour
from workers.film.chroma_filters import double, halve, halving
from workers.film.code_values import GREY, KR_KB, chroma_levels, luma_levels
from workers.film.colour_tags import tag
from workers.film.pixel_layout import Layout, layout, views
from workers.film.planes import read, write
from workers.llvm import yuv

# AVCHROMA_LOC_*: whether chroma lies on the even luma column, and on which luma row (None: between the two).
_SITES: dict[int, tuple[bool, str]] = {
    1: (True, "centre"),
    2: (False, "centre"),
    3: (True, "top"),
    4: (False, "top"),
    5: (True, "bottom"),
    6: (False, "bottom"),
}
_LEFT, _CENTRE, _TOPLEFT = 1, 2, 3
_GRAIN = 8
"""Strips of rows begin on multiples of this, which is a multiple of every subsampling."""
_CACHED = 320_000
"""Pixels in a strip: one pass uses two or three of its float32 planes, 3 MB. Measured with 2 MB of second-level cache."""


def chroma_location(pix_fmt: str, colour: Colour) -> int:
    """Return the AVCHROMA_LOC_* of the chroma of `pix_fmt`: the one in `colour`, else the one that players assume.

    Without a value in `colour` it is the top left luma sample for BT.2020, the centre for JPEG's formats, and the left for all others.
    """
    if colour.chroma_location in _SITES:
        return colour.chroma_location
    if pix_fmt.startswith("yuvj"):
        return _CENTRE
    return _TOPLEFT if colour.matrix == "bt2020" else _LEFT


def chroma_site(form: Layout, colour: Colour) -> tuple[bool, str]:
    """Return whether chroma lies on the even luma column, and its place among two luma rows: top, centre or bottom."""
    return _SITES[chroma_location(form.name, colour)]


def to_rgb(frame: av.VideoFrame, colour: Colour, device: torch.device | str = "cpu") -> torch.Tensor:
    """Convert the frame to 1 x 3 x H x W float32 R'G'B' on `device`, black 0 and white 1.

    Codes below black, above white or outside the RGB cube give values outside [0, 1], so that nothing is lost
    here; networks clip them. Supports planar and semi-planar YUV, planar and packed RGB, and grey, of 8 to 16 bits. Raises
    Unsupported for other pixel formats, such as those with alpha, and for a matrix that does not fit the format.
    """
    form = layout(frame.format.name)
    planes = read(frame, form, torch.device(device))
    if form.model == "rgb":
        return _expand(planes[0], form.bits, colour.full)
    luma = _expand(planes[0], form.bits, colour.full)
    if form.model == "grey":
        return luma.expand(-1, 3, -1, -1).contiguous()
    height, width = luma.shape[-2:]
    offset, gain = chroma_levels(form.bits, colour.full)
    chroma = _enlarge(planes[1].float().sub_(offset).div_(gain), (height, width), form, colour)
    kr, kb = _constants(colour, frame.format.name)
    kg = 1 - kr - kb
    cb, cr = chroma[:, 0:1], chroma[:, 1:2]
    rgb = torch.empty((1, 3, height, width), dtype=torch.float32, device=luma.device)
    torch.add(luma, cr, alpha=2 * (1 - kr), out=rgb[:, 0:1])
    torch.add(luma, cb, alpha=-2 * kb * (1 - kb) / kg, out=rgb[:, 1:2]).add_(cr, alpha=-2 * kr * (1 - kr) / kg)
    torch.add(luma, cb, alpha=2 * (1 - kb), out=rgb[:, 2:3])
    return rgb


def from_rgb(
    rgb: torch.Tensor, pix_fmt: str, colour: Colour, make: Callable[[int, int, str], av.VideoFrame] = av.VideoFrame
) -> av.VideoFrame:
    """Convert 1 x 3 x H x W float32 R'G'B', black 0 and white 1, to a frame of `pix_fmt` with the tags of `colour`.

    Values are rounded to the nearest code value. `make` returns the frame to fill, given width, height and format. Raises Unsupported for the pixel formats that `to_rgb` does not support either.
    """
    form = layout(pix_fmt)
    height, width = rgb.shape[-2:]
    frame = make(width, height, form.plain)
    if _common(rgb, form, colour):
        yuv.convert(rgb[0].numpy(), views(frame, form), *filters(height, width, form, colour), numbers(form, colour))
    else:
        for first, last in _strips(height, width, rgb.device, form, colour):
            write(frame, form, _planes(rgb, form, colour, first, last), first)
    if form.plain != pix_fmt:
        frame = frame.reformat(format=pix_fmt)
    tag(frame, colour)
    return frame


def _common(rgb: torch.Tensor, form: Layout, colour: Colour) -> bool:
    """Return whether `workers.llvm.yuv` can convert it: planar 4:2:0 on the CPU, as for nearly all films."""
    planar = form.model == "yuv" and form.down == (2, 2) and form.order == ((0,), (1,), (2,))
    here = rgb.device.type == "cpu" and rgb.dtype == torch.float32 and rgb.stride(-1) == 1
    return planar and here and colour.matrix != "grey" and yuv.supported(*rgb.shape[-2:])


def filters(height: int, width: int, form: Layout, colour: Colour) -> tuple[yuv.Filter, yuv.Filter]:
    """Return the filters from the image's rows to chroma rows, and from its columns to chroma columns."""
    on_column, row = chroma_site(form, colour)
    return halving(height, row != "centre", row == "bottom"), halving(width, on_column, False)


def numbers(form: Layout, colour: Colour) -> yuv.Numbers:
    """Return the constants of the conversion to code values of `form`."""
    kr, kb = _constants(colour, form.name)
    luma = np.array([kr, 1 - kr - kb, kb])
    black, span = luma_levels(form.bits, colour.full)
    neutral, gain = chroma_levels(form.bits, colour.full)
    red, blue = np.array([1.0, 0, 0]), np.array([0, 0, 1.0])
    cb, cr = gain * (blue - luma) / (2 * (1 - kb)), gain * (red - luma) / (2 * (1 - kr))
    return yuv.Numbers(tuple(luma * span), black, tuple(cb), tuple(cr), neutral, float((1 << form.bits) - 1))


def _strips(height: int, width: int, device: torch.device, form: Layout, colour: Colour) -> list[tuple[int, int]]:
    """Return the strips of rows [first, last): one on a GPU; on a CPU as many rows as fit its cache, which saves a third of the time."""
    if device.type != "cpu" or (height % form.down[0] and chroma_site(form, colour)[1] == "bottom"):
        return [(0, height)]  # rows that pair up from the bottom of an odd height need the whole image
    rows = max(_GRAIN, _CACHED // width // _GRAIN * _GRAIN)
    return [(first, min(first + rows, height)) for first in range(0, height, rows)]


def _planes(rgb: torch.Tensor, form: Layout, colour: Colour, first: int, last: int) -> list[torch.Tensor]:
    """Return the code values of the rows `first` (a multiple of _GRAIN) to `last` - 1, arranged for `planes.write`."""
    # Each halving's filter reaches two rows further; the image's own edges stay edges.
    reach = 2 * form.down[0]
    low, high = max(first - reach, 0), min(last + reach, rgb.shape[-2])
    rows = rgb[..., low:high, :]
    inner = slice(first - low, last - low)
    if form.model == "rgb":
        return [_codes(rows[..., inner, :], form.bits, colour.full)]
    grey = colour.matrix == "grey" or form.model == "grey"
    kr, kb = GREY if grey else _constants(colour, form.name)
    luma = rows[:, 0:1] * kr
    luma.add_(rows[:, 1:2], alpha=1 - kr - kb).add_(rows[:, 2:3], alpha=kb)
    planes = [_codes(luma[..., inner, :], form.bits, colour.full)]
    if form.model == "yuv":
        offset, gain = chroma_levels(form.bits, colour.full)
        if colour.matrix == "grey":
            differences = rows.new_zeros((1, 2, *rows.shape[-2:]))
        else:
            differences = rows.new_empty((1, 2, *rows.shape[-2:]))
            torch.sub(rows[:, 2], luma[:, 0], out=differences[:, 0]).div_(2 * (1 - kb))
            torch.sub(rows[:, 0], luma[:, 0], out=differences[:, 1]).div_(2 * (1 - kr))
        down = form.down[0]
        chroma = _reduce(differences, form, colour)[..., (first - low) // down : -(-(last - low) // down), :]
        planes.append(chroma.mul_(gain).add_(offset).round_().clamp_(0, (1 << form.bits) - 1))
    return planes


def _constants(colour: Colour, pix_fmt: str) -> tuple[float, float]:
    if colour.matrix not in KR_KB:
        raise Unsupported(
            f"pixel format {pix_fmt} needs the matrix bt601, bt709 or bt2020, but the plan has {colour.matrix}; "
            "choose an RGB pixel format with --pix-fmt."
        )
    return KR_KB[colour.matrix]


def _expand(codes: torch.Tensor, bits: int, full: bool) -> torch.Tensor:
    black, span = luma_levels(bits, full)
    return codes.float().sub_(black).div_(span)


def _codes(values: torch.Tensor, bits: int, full: bool) -> torch.Tensor:
    black, span = luma_levels(bits, full)
    return values.mul(span).add_(black).round_().clamp_(0, (1 << bits) - 1)


def _enlarge(chroma: torch.Tensor, size: tuple[int, int], form: Layout, colour: Colour) -> torch.Tensor:
    on_column, row = chroma_site(form, colour)
    factor = form.down[1]
    while factor > 1:
        factor //= 2
        chroma = double(chroma, -1, -(-size[1] // factor), on_column)
    factor = form.down[0]
    if row == "bottom":
        chroma = chroma.flip(-2)
    while factor > 1:
        factor //= 2
        chroma = double(chroma, -2, -(-size[0] // factor), row != "centre")
    return chroma.flip(-2) if row == "bottom" else chroma


def _reduce(chroma: torch.Tensor, form: Layout, colour: Colour) -> torch.Tensor:
    on_column, row = chroma_site(form, colour)
    if row == "bottom":
        chroma = chroma.flip(-2)
    factor = form.down[0]
    while factor > 1:
        factor //= 2
        chroma = halve(chroma, -2, row != "centre")
    if row == "bottom":
        chroma = chroma.flip(-2)
    factor = form.down[1]
    while factor > 1:
        factor //= 2
        chroma = halve(chroma, -1, on_column)
    return chroma
