"""From a film's own code values to RGB on the device and back, exactly.

Matrices are ITU-R BT.601-7, BT.709-6 and BT.2020-2 (constants Kr and Kb), ranges those of their tables of
digital levels. Chroma is brought to full size by linear interpolation at its true position, and back by
the shortest symmetric filters that undo exactly that interpolation (the analysis halves of the
biorthogonal 5/3 and 3/1 wavelets of Cohen, Daubechies and Feauveau, 1992): what nobody changed comes back as it was.
"""

from __future__ import annotations

from functools import lru_cache

import av
import numpy as np
import torch

from contract.errors import Unsupported
from contract.film import Colour
from workers.film.planes import Layout, layout, read, views, write
from workers.llvm import yuv

_KR_KB = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
_GREY = _KR_KB["bt601"]
"""Luma weights for grey, those of upstream's (OpenCV's) grey conversion."""

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
"""Strips of rows begin on multiples of it, which are multiples of every subsampling."""
_CACHED = 320_000
"""Pixels in a strip: one pass touches two or three of its float32 planes, 3 MB. Measured with 2 MB of second-level cache."""


def chroma_location(pix_fmt: str, colour: Colour) -> int:
    """The AVCHROMA_LOC_* that the chroma of `pix_fmt` has: what `colour` says, else what players assume.

    Unsaid, it is the top left luma sample for BT.2020, the centre for JPEG's formats, and the left for all others.
    """
    if colour.chroma_location in _SITES:
        return colour.chroma_location
    if pix_fmt.startswith("yuvj"):
        return _CENTRE
    return _TOPLEFT if colour.matrix == "bt2020" else _LEFT


def to_rgb(frame: av.VideoFrame, colour: Colour, device: torch.device | str = "cpu") -> torch.Tensor:
    """The frame as 1 x 3 x H x W float32 R'G'B' on `device`, black 0 and white 1.

    Codes below black, above white or outside the RGB cube give values outside [0, 1], so that nothing is lost
    here; networks clip them. Takes planar and semi-planar YUV, planar and packed RGB, and grey, of 8 to 16 bits. Raises Unsupported for other
    pixel formats (those with alpha among them) and for a matrix that does not fit the format.
    """
    form = layout(frame.format.name)
    planes = read(frame, form, torch.device(device))
    if form.model == "rgb":
        return _expand(planes[0], form.bits, colour.full)
    luma = _expand(planes[0], form.bits, colour.full)
    if form.model == "grey":
        return luma.expand(-1, 3, -1, -1).contiguous()
    height, width = luma.shape[-2:]
    offset, gain = _chroma_levels(form.bits, colour.full)
    chroma = _enlarge(planes[1].float().sub_(offset).div_(gain), (height, width), form, colour)
    kr, kb = _constants(colour, frame.format.name)
    kg = 1 - kr - kb
    cb, cr = chroma[:, 0:1], chroma[:, 1:2]
    rgb = torch.empty((1, 3, height, width), dtype=torch.float32, device=luma.device)
    torch.add(luma, cr, alpha=2 * (1 - kr), out=rgb[:, 0:1])
    torch.add(luma, cb, alpha=-2 * kb * (1 - kb) / kg, out=rgb[:, 1:2]).add_(cr, alpha=-2 * kr * (1 - kr) / kg)
    torch.add(luma, cb, alpha=2 * (1 - kb), out=rgb[:, 2:3])
    return rgb


def from_rgb(rgb: torch.Tensor, pix_fmt: str, colour: Colour) -> av.VideoFrame:
    """1 x 3 x H x W float32 R'G'B', black 0 and white 1, as a frame of `pix_fmt`, tagged as `colour`, rounded to the nearest code value.

    Raises Unsupported for pixel formats that `to_rgb` does not take either.
    """
    form = layout(pix_fmt)
    height, width = rgb.shape[-2:]
    frame = av.VideoFrame(width, height, form.plain)
    if _common(rgb, form, colour):
        yuv.convert(rgb[0].numpy(), views(frame, form), *_filters(height, width, form, colour), _numbers(form, colour))
    else:
        for first, last in _strips(height, width, rgb.device, form, colour):
            write(frame, form, _planes(rgb, form, colour, first, last), first)
    if form.plain != pix_fmt:
        frame = frame.reformat(format=pix_fmt)
    tag(frame, colour)
    return frame


def _common(rgb: torch.Tensor, form: Layout, colour: Colour) -> bool:
    """Whether it is what nearly all films are made of, for which there is code of our own."""
    planar = form.model == "yuv" and form.down == (2, 2) and form.order == ((0,), (1,), (2,))
    here = rgb.device.type == "cpu" and rgb.dtype == torch.float32 and rgb.stride(-1) == 1
    return planar and here and colour.matrix != "grey" and yuv.supported(*rgb.shape[-2:])


def _filters(height: int, width: int, form: Layout, colour: Colour) -> tuple[yuv.Filter, yuv.Filter]:
    """How chroma rows are made of the picture's rows, and chroma columns of its columns."""
    on_column, row = _SITES[chroma_location(form.name, colour)]
    return _filter(height, row != "centre", row == "bottom"), _filter(width, on_column, False)


@lru_cache(maxsize=64)
def _filter(length: int, cosited: bool, backwards: bool) -> yuv.Filter:
    """What `_halve` does with each of `length` samples, learnt from it; only the ends differ from the middle."""
    seen = min(length, 16 + length % 2)
    made = _halve(torch.eye(seen), -1, cosited).T.numpy()
    n = np.arange((length + 1) // 2)
    # Which sample of the shorter row is made in the same way.
    like = np.where(n < len(n) - 4, np.minimum(n, 4), n + len(made) - len(n))
    starts = np.clip(2 * n - 2, 0, length - yuv.TAPS)
    there = np.clip(2 * like - 2, 0, seen - yuv.TAPS)
    taps = made[like[:, None], there[:, None] + np.arange(yuv.TAPS)]
    if backwards:
        starts, taps = length - yuv.TAPS - starts[::-1], taps[::-1, ::-1]
    return yuv.Filter(np.ascontiguousarray(starts, np.int64), np.ascontiguousarray(taps, np.float32))


def _numbers(form: Layout, colour: Colour) -> yuv.Numbers:
    kr, kb = _constants(colour, form.name)
    luma = np.array([kr, 1 - kr - kb, kb])
    black, span = _luma_levels(form.bits, colour.full)
    neutral, gain = _chroma_levels(form.bits, colour.full)
    red, blue = np.array([1.0, 0, 0]), np.array([0, 0, 1.0])
    cb, cr = gain * (blue - luma) / (2 * (1 - kb)), gain * (red - luma) / (2 * (1 - kr))
    return yuv.Numbers(tuple(luma * span), black, tuple(cb), tuple(cr), neutral, float((1 << form.bits) - 1))


def _strips(height: int, width: int, device: torch.device, form: Layout, colour: Colour) -> list[tuple[int, int]]:
    """Rows [first, last) to work on at once: all on a GPU; on a CPU what its cache holds, which saves a third of the time."""
    if device.type != "cpu" or (height % form.down[0] and _SITES[chroma_location(form.name, colour)][1] == "bottom"):
        return [(0, height)]  # rows that pair up from the bottom of an odd height have to be seen from there
    rows = max(_GRAIN, _CACHED // width // _GRAIN * _GRAIN)
    return [(first, min(first + rows, height)) for first in range(0, height, rows)]


def _planes(rgb: torch.Tensor, form: Layout, colour: Colour, first: int, last: int) -> list[torch.Tensor]:
    """The code values of the rows `first` (a multiple of _GRAIN) to `last` - 1, arranged as `pixels.write` takes them."""
    # Each halving's filter sees two rows beyond; the picture's own edges stay edges.
    reach = 2 * form.down[0]
    low, high = max(first - reach, 0), min(last + reach, rgb.shape[-2])
    rows = rgb[..., low:high, :]
    inner = slice(first - low, last - low)
    if form.model == "rgb":
        return [_codes(rows[..., inner, :], form.bits, colour.full)]
    grey = colour.matrix == "grey" or form.model == "grey"
    kr, kb = _GREY if grey else _constants(colour, form.name)
    luma = rows[:, 0:1] * kr
    luma.add_(rows[:, 1:2], alpha=1 - kr - kb).add_(rows[:, 2:3], alpha=kb)
    planes = [_codes(luma[..., inner, :], form.bits, colour.full)]
    if form.model == "yuv":
        offset, gain = _chroma_levels(form.bits, colour.full)
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


def tag(frame: av.VideoFrame, colour: Colour) -> None:
    """Write the source's own colour tags onto a frame, for the encoder to carry on."""
    frame.colorspace = colour.space
    frame.color_range = colour.range
    frame.color_primaries = colour.primaries
    frame.color_trc = colour.transfer


def _constants(colour: Colour, pix_fmt: str) -> tuple[float, float]:
    if colour.matrix not in _KR_KB:
        raise Unsupported(
            f"pixel format {pix_fmt} needs the matrix bt601, bt709 or bt2020, but the plan says {colour.matrix}; "
            "choose an RGB pixel format with --pix-fmt."
        )
    return _KR_KB[colour.matrix]


def _luma_levels(bits: int, full: bool) -> tuple[float, float]:
    """Code value of black, and from black to white."""
    return (0.0, float((1 << bits) - 1)) if full else (float(16 << (bits - 8)), float(219 << (bits - 8)))


def _chroma_levels(bits: int, full: bool) -> tuple[float, float]:
    """Code value of no colour, and the span of Cb and Cr, which run from -1/2 to 1/2."""
    return float(1 << (bits - 1)), float((1 << bits) - 1 if full else 224 << (bits - 8))


def _expand(codes: torch.Tensor, bits: int, full: bool) -> torch.Tensor:
    black, span = _luma_levels(bits, full)
    return codes.float().sub_(black).div_(span)


def _codes(values: torch.Tensor, bits: int, full: bool) -> torch.Tensor:
    black, span = _luma_levels(bits, full)
    return values.mul(span).add_(black).round_().clamp_(0, (1 << bits) - 1)


def _enlarge(chroma: torch.Tensor, size: tuple[int, int], form: Layout, colour: Colour) -> torch.Tensor:
    on_column, row = _SITES[chroma_location(form.name, colour)]
    factor = form.down[1]
    while factor > 1:
        factor //= 2
        chroma = _double(chroma, -1, -(-size[1] // factor), on_column)
    factor = form.down[0]
    if row == "bottom":
        chroma = chroma.flip(-2)
    while factor > 1:
        factor //= 2
        chroma = _double(chroma, -2, -(-size[0] // factor), row != "centre")
    return chroma.flip(-2) if row == "bottom" else chroma


def _reduce(chroma: torch.Tensor, form: Layout, colour: Colour) -> torch.Tensor:
    on_column, row = _SITES[chroma_location(form.name, colour)]
    if row == "bottom":
        chroma = chroma.flip(-2)
    factor = form.down[0]
    while factor > 1:
        factor //= 2
        chroma = _halve(chroma, -2, row != "centre")
    if row == "bottom":
        chroma = chroma.flip(-2)
    factor = form.down[1]
    while factor > 1:
        factor //= 2
        chroma = _halve(chroma, -1, on_column)
    return chroma


def _double(x: torch.Tensor, axis: int, length: int, cosited: bool) -> torch.Tensor:
    """Twice as many samples along `axis` (`length` of them, 2n or 2n - 1), by linear interpolation; edges repeat."""
    n = x.shape[axis]
    after = torch.cat([x.narrow(axis, 1, n - 1), x.narrow(axis, n - 1, 1)], axis)
    if cosited:
        pair = (x, (x + after).mul_(0.5))
    else:
        before = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, n - 1)], axis)
        pair = (torch.lerp(x, before, 0.25), torch.lerp(x, after, 0.25))
    return (
        torch.stack(pair, x.dim() + axis + 1 if axis < 0 else axis + 1).flatten(axis - 1, axis).narrow(axis, 0, length)
    )


def _halve(x: torch.Tensor, axis: int, cosited: bool) -> torch.Tensor:
    """Half as many samples along `axis` (n of 2n or 2n - 1): undoes `_double` of even length exactly, and lets no alias of a constant through."""
    length = x.shape[axis]
    n = (length + 1) // 2
    if cosited:
        # (-1 2 6 2 -1) / 8 around every even sample.
        # At an even end the last sample repeats, as `_double` repeats it; else both mirror.
        ahead = [_mirror(length, length), _mirror(length + 1, length)] if length % 2 else [length - 1]
        x = _extend(x, axis, [_mirror(-2, length), _mirror(-1, length)], ahead)
        taps = [-0.125, 0.25, 0.75, 0.25, -0.125]
    else:
        # (-1 3 3 -1) / 4 around the middle of every pair.
        if length % 2 and length > 1:
            # Half of the last pair is missing: what `_double` would have made it follows from the two before.
            last, before = x.narrow(axis, length - 1, 1), x.narrow(axis, length - 2, 1)
            x = torch.cat([x, last * 1.5 - before * 0.5], axis)
        x = _extend(x, axis, [0], [x.shape[axis] - 1, x.shape[axis] - 1])
        taps = [-0.25, 0.75, 0.75, -0.25]
    out = _every_second(x, axis, 0, n) * taps[0]
    for k, weight in enumerate(taps[1:], 1):
        out.add_(_every_second(x, axis, k, n), alpha=weight)
    return out


def _mirror(i: int, length: int) -> int:
    """The sample that stands at `i` when the row is mirrored at its edge samples, without repeating them."""
    i = abs(i)
    return max(0, min(i, 2 * (length - 1) - i))


def _extend(x: torch.Tensor, axis: int, behind: list[int], ahead: list[int]) -> torch.Tensor:
    return torch.cat([*(x.narrow(axis, i, 1) for i in behind), x, *(x.narrow(axis, i, 1) for i in ahead)], axis)


def _every_second(x: torch.Tensor, axis: int, start: int, n: int) -> torch.Tensor:
    return x.narrow(axis, start, 2 * n - 1)[..., ::2] if axis == -1 else x.narrow(axis, start, 2 * n - 1)[..., ::2, :]
