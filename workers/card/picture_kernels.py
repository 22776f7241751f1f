"""Triton kernels between code values of Y'CbCr 4:2:0 and R'G'B', one pass each; `workers.card.pictures` launches them.

The filters of chroma rows and columns are read from tables, so that the kernels know neither chroma sites nor edges.
"""

from __future__ import annotations

import triton
import triton.language as tl

_TAPS = tl.constexpr(5)
"""Samples that the filter of one chroma sample covers along one axis."""
_EVEN = tl.constexpr(12582912.0)
"""1.5 * 2**23: a float32 of at most 2**22 to which this is added has no bits left for fractions, and is rounded to the nearest, halves to even."""


@triton.jit
def _limited(value, limit: tl.constexpr):
    """Return values within [0, 1] if `limit`; NaN becomes 0 then."""
    if limit:
        value = tl.minimum(tl.maximum(tl.where(value == value, value, 0.0), 0.0), 1.0)
    return value


@triton.jit
def codes_to_rgb(
    luma, chroma, rgb, row_starts, row_taps, column_starts, column_taps, numbers, width, luma_row, luma_column,
    chroma_plane, chroma_row, chroma_column, rgb_channel, rgb_row, rgb_column, limit: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Fill row `program_id(1)`, `block` columns, of `rgb` of any float type and order of axes; `limit` keeps it within [0, 1]."""
    row = tl.program_id(1).to(tl.int64)
    column = tl.program_id(0) * block + tl.arange(0, block)
    inside = column < width
    codes = tl.load(luma + row * luma_row + column * luma_column, mask=inside, other=0).to(tl.float32)
    y = (codes - tl.load(numbers)) * tl.load(numbers + 1)
    first = tl.load(column_starts + column, mask=inside, other=0)
    left = tl.load(column_taps + 2 * column, mask=inside, other=0.0)
    right = tl.load(column_taps + 2 * column + 1, mask=inside, other=0.0)
    top = tl.load(row_starts + row)
    cb = tl.zeros_like(y)
    cr = tl.zeros_like(y)
    for k in tl.static_range(2):
        weight = tl.load(row_taps + 2 * row + k)
        here = chroma + (top + k) * chroma_row + first * chroma_column
        a = tl.load(here, mask=inside, other=0).to(tl.float32)
        b = tl.load(here + chroma_column, mask=inside, other=0).to(tl.float32)
        cb += weight * (left * a + right * b)
        a = tl.load(here + chroma_plane, mask=inside, other=0).to(tl.float32)
        b = tl.load(here + chroma_plane + chroma_column, mask=inside, other=0).to(tl.float32)
        cr += weight * (left * a + right * b)
    neutral = tl.load(numbers + 2)
    gain = tl.load(numbers + 3)
    cb = (cb - neutral) * gain
    cr = (cr - neutral) * gain
    out = rgb + row * rgb_row + column * rgb_column
    for channel in tl.static_range(3):
        value = y + cb * tl.load(numbers + 4 + 2 * channel) + cr * tl.load(numbers + 5 + 2 * channel)
        tl.store(out + channel * rgb_channel, _limited(value, limit).to(rgb.dtype.element_ty), mask=inside)


@triton.jit
def _sample(image, base, row, column, channel, inside, image_channel, image_row, image_column, base_channel, base_row, base_column,
            shuffle: tl.constexpr):  # fmt: skip
    """Return samples of the picture whose pixels are shuffled into `image`'s channels, with `base` added to every pixel of a square."""
    if shuffle == 1:
        return tl.load(
            image + row * image_row + column * image_column + channel * image_channel, mask=inside, other=0.0
        ).to(tl.float32)
    place = channel * shuffle * shuffle + row % shuffle * shuffle + column % shuffle
    at = row // shuffle * image_row + column // shuffle * image_column + place * image_channel
    under = row // shuffle * base_row + column // shuffle * base_column + channel * base_channel
    value = tl.load(image + at, mask=inside, other=0.0).to(tl.float32)
    return value + tl.load(base + under, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _stored(value, most, scale, to, inside):
    """Store values as code values times `scale`; NaN becomes 0."""
    value = tl.where(value == value, value, 0.0)
    value = tl.minimum(tl.maximum((value + _EVEN) - _EVEN, 0.0), most)
    tl.store(to, (value.to(tl.int32) * scale).to(to.dtype.element_ty), mask=inside)


@triton.jit
def rgb_to_codes(
    image, base, luma, cb, cr, flags, row_starts, row_taps, column_starts, column_taps, numbers, height, width, columns,
    image_channel, image_row, image_column, base_channel, base_row, base_column, luma_row, luma_column, chroma_row, chroma_column,
    scale, shuffle: tl.constexpr, limit: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Fill chroma row `program_id(1)`, `block` columns, and the two luma rows beside it; `limit` keeps R, G and B within [0, 1].

    `flags` receives the largest value as the bits of a float32 (0 if all are negative), and 1 where a value is infinite or NaN.
    """
    line = tl.program_id(1).to(tl.int64)
    column = tl.program_id(0) * (2 * block) + tl.arange(0, 2 * block)
    most = tl.load(numbers + 11)
    largest = tl.zeros((2 * block,), tl.float32)
    broken = tl.zeros((2 * block,), tl.int32)
    for k in tl.static_range(2):
        row = 2 * line + k
        inside = (column < width) & (row < height)
        y = tl.full((2 * block,), 0.0, tl.float32) + tl.load(numbers + 3)
        for channel in tl.static_range(3):
            value = _sample(image, base, row, column, channel, inside, image_channel, image_row, image_column,
                            base_channel, base_row, base_column, shuffle)  # fmt: skip
            finite = tl.abs(value) < float("inf")
            broken = tl.where(finite, broken, 1)
            largest = tl.where(finite, tl.maximum(largest, value), largest)
            y += tl.load(numbers + channel) * _limited(value, limit)
        _stored(y, most, scale, luma + row * luma_row + column * luma_column, inside)
    tl.atomic_max(flags, tl.max(largest).to(tl.int32, bitcast=True))
    tl.atomic_max(flags + 1, tl.max(broken))
    column = tl.program_id(0) * block + tl.arange(0, block)
    inside = column < columns
    top = tl.load(row_starts + line)
    left = tl.load(column_starts + column, mask=inside, other=0)
    blue = tl.full((block,), 0.0, tl.float32) + tl.load(numbers + 10)
    red = blue
    for i in tl.static_range(_TAPS):
        vertical = tl.load(row_taps + _TAPS * line + i)
        for j in tl.static_range(_TAPS):
            weight = vertical * tl.load(column_taps + _TAPS * column + j, mask=inside, other=0.0)
            for channel in tl.static_range(3):
                value = _sample(image, base, top + i, left + j, channel, inside, image_channel, image_row, image_column,
                                base_channel, base_row, base_column, shuffle)  # fmt: skip
                value = weight * _limited(value, limit)
                blue += value * tl.load(numbers + 4 + channel)
                red += value * tl.load(numbers + 7 + channel)
    to = line * chroma_row + column * chroma_column
    _stored(blue, most, scale, cb + to, inside)
    _stored(red, most, scale, cr + to, inside)
