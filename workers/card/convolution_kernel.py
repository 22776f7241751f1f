"""Triton kernel of a 3x3 convolution with everything around it, in half floats with sums in fp32.

Buffers are N x (H + 2) x (W + 2) x C with a border of zeros, so that no tap is outside. A program computes the outputs of a rectangle
of pixels as one matrix product, whose rows are pixels and whose sums run over taps and channels; see `workers.card.convolution`.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _summed(
    sums, source, weights, y, x, outputs_padded, n, source_row, source_pixel,
    channels: tl.constexpr, double: tl.constexpr, block_k: tl.constexpr,
):  # fmt: skip
    """Add the products of nine taps of `channels` channels; weights are (9 * channels) x `outputs_padded`, taps first."""
    blocks: tl.constexpr = channels // block_k
    k = tl.arange(0, block_k)
    columns = weights + k[:, None] * outputs_padded + n[None, :]
    pixels = source + (y * source_row + x * source_pixel)[:, None] + k[None, :]
    for step in tl.range(0, 9 * blocks):
        tap = step // blocks
        down = tap // 3
        right = tap % 3
        first = step % blocks * block_k
        if double:
            # Pixel -1 of the result, in the border, is pixel -1 of the source, as shifting rounds down.
            row = ((y + down - 1) >> 1) + 1
            column = ((x + right - 1) >> 1) + 1
            part = tl.load(source + (row * source_row + column * source_pixel + first)[:, None] + k[None, :])
        else:
            part = tl.load(pixels + (down * source_row + right * source_pixel + first))
        sums = tl.dot(part, tl.load(columns + step * block_k * outputs_padded), sums)
    return sums


# The size only decides which sums are kept, so that one compiled kernel is as fast for every size.
@triton.jit(do_not_specialize=["height", "width"])
def convolve(
    one, two, weights, bias, slopes, near, far, out, height, width, outputs_padded,
    one_image, one_row, one_pixel, two_image, two_row, two_pixel, near_image, near_row, near_pixel,
    far_image, far_row, far_pixel, out_image, out_row, out_pixel, near_factor, far_factor,
    one_channels: tl.constexpr, two_channels: tl.constexpr, outputs: tl.constexpr, double: tl.constexpr,
    activated: tl.constexpr, residuals: tl.constexpr,
    rows: tl.constexpr, columns: tl.constexpr, block_n: tl.constexpr, one_k: tl.constexpr, two_k: tl.constexpr,
):  # fmt: skip
    """Fill `out`, its border too: activation(weights * (one, two) + bias) + near * near_factor + far * far_factor."""
    across = tl.cdiv(width + 2, columns)
    tile = tl.program_id(0)
    image = tl.program_id(2).to(tl.int64)
    m = tl.arange(0, rows * columns)
    row = tile // across * rows + m // columns
    column = tile % across * columns + m % columns
    # The border's own sums are thrown away, and those of rectangles that reach beyond it.
    y = tl.minimum(tl.maximum(row - 1, 0), height - 1)
    x = tl.minimum(tl.maximum(column - 1, 0), width - 1)
    n = tl.program_id(1) * block_n + tl.arange(0, block_n)
    sums = tl.zeros((rows * columns, block_n), tl.float32)
    sums = _summed(
        sums, one + image * one_image, weights, y, x, outputs_padded, n, one_row, one_pixel, one_channels, double, one_k
    )
    if two_channels > 0:
        weights += 9 * one_channels * outputs_padded
        sums = _summed(
            sums, two + image * two_image, weights, y, x, outputs_padded, n, two_row, two_pixel, two_channels, double, two_k
        )  # fmt: skip
    sums += tl.load(bias + n)[None, :]
    if activated:
        sums = tl.where(sums > 0, sums, sums * tl.load(slopes + n)[None, :])
    wanted = (n < outputs)[None, :]
    if residuals > 0:
        at = image * near_image + ((y + 1) * near_row + (x + 1) * near_pixel)[:, None] + n[None, :]
        sums += near_factor * tl.load(near + at, mask=wanted, other=0.0).to(tl.float32)
    if residuals > 1:
        at = image * far_image + ((y + 1) * far_row + (x + 1) * far_pixel)[:, None] + n[None, :]
        sums += far_factor * tl.load(far + at, mask=wanted, other=0.0).to(tl.float32)
    inside = (row >= 1) & (row <= height) & (column >= 1) & (column <= width)
    sums = tl.where(inside[:, None], sums, 0.0)
    held = (row < height + 2) & (column < width + 2)
    at = out + image * out_image + (row * out_row + column * out_pixel)[:, None] + n[None, :]
    tl.store(at, sums.to(out.dtype.element_ty), mask=held[:, None] & wanted)
