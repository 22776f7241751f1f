"""Filters that enlarge and reduce chroma by two along one axis, as passes of PyTorch and as tables of taps.

Doubling is linear interpolation at the sample's true position. Halving uses the shortest symmetric filters that invert it exactly (the
analysis halves of the biorthogonal 5/3 and 3/1 wavelets of Cohen, Daubechies and Feauveau, 1992).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from workers.llvm import yuv


@lru_cache(maxsize=64)
def halving(length: int, cosited: bool, backwards: bool) -> yuv.Filter:
    """Return `halve` for `length` samples as a filter, computed from a short row; only the ends differ from the middle.

    `cosited` means that samples of the result lie on those of the source; `backwards`, that samples pair up from the end.
    """
    short = min(length, 16 + length % 2)
    matrix = halve(torch.eye(short), -1, cosited).T.numpy()
    n = np.arange((length + 1) // 2)
    # The index of the sample in the short row that has the same taps.
    like = np.where(n < len(n) - 4, np.minimum(n, 4), n + len(matrix) - len(n))
    starts = np.clip(2 * n - 2, 0, length - yuv.TAPS)
    short_starts = np.clip(2 * like - 2, 0, short - yuv.TAPS)
    taps = matrix[like[:, None], short_starts[:, None] + np.arange(yuv.TAPS)]
    if backwards:
        starts, taps = length - yuv.TAPS - starts[::-1], taps[::-1, ::-1]
    return yuv.Filter(np.ascontiguousarray(starts, np.int64), np.ascontiguousarray(taps, np.float32))


@lru_cache(maxsize=64)
def doubling(length: int, cosited: bool, backwards: bool) -> yuv.Filter:
    """Return `double` to `length` samples as a filter of two taps; the source must have at least two samples."""
    n = (length + 1) // 2
    places = np.clip(np.arange(length) / 2 - (0 if cosited else 0.25), 0, n - 1)
    starts = np.minimum(places.astype(np.int64), n - 2)
    taps = np.stack([1 - (places - starts), places - starts], 1)
    if backwards:
        starts, taps = n - 2 - starts[::-1], taps[::-1, ::-1]
    return yuv.Filter(np.ascontiguousarray(starts, np.int64), np.ascontiguousarray(taps, np.float32))


def double(x: torch.Tensor, axis: int, length: int, cosited: bool) -> torch.Tensor:
    """Double the samples along `axis` (to `length`, 2n or 2n - 1) by linear interpolation; edges repeat."""
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


def halve(x: torch.Tensor, axis: int, cosited: bool) -> torch.Tensor:
    """Halve the samples along `axis` (2n or 2n - 1 to n): inverts `double` of even length exactly, and keeps constants.

    The taps sum to 1, and their alternating sum is 0, so the highest frequency does not alias to a constant.
    """
    length = x.shape[axis]
    n = (length + 1) // 2
    if cosited:
        # (-1 2 6 2 -1) / 8 around every even sample.
        # At an even end the last sample repeats, as `double` repeats it; else both mirror.
        ahead = [_mirror(length, length), _mirror(length + 1, length)] if length % 2 else [length - 1]
        x = _extend(x, axis, [_mirror(-2, length), _mirror(-1, length)], ahead)
        taps = [-0.125, 0.25, 0.75, 0.25, -0.125]
    else:
        # (-1 3 3 -1) / 4 around the middle of every pair.
        if length % 2 and length > 1:
            # Half of the last pair is missing: the value that `double` would have given follows from the two samples before.
            last, before = x.narrow(axis, length - 1, 1), x.narrow(axis, length - 2, 1)
            x = torch.cat([x, last * 1.5 - before * 0.5], axis)
        x = _extend(x, axis, [0], [x.shape[axis] - 1, x.shape[axis] - 1])
        taps = [-0.25, 0.75, 0.75, -0.25]
    out = _every_second(x, axis, 0, n) * taps[0]
    for k, weight in enumerate(taps[1:], 1):
        out.add_(_every_second(x, axis, k, n), alpha=weight)
    return out


def _mirror(i: int, length: int) -> int:
    """Return the index of the sample at `i` when the row is mirrored at its edge samples without repeating them."""
    i = abs(i)
    return max(0, min(i, 2 * (length - 1) - i))


def _extend(x: torch.Tensor, axis: int, behind: list[int], ahead: list[int]) -> torch.Tensor:
    return torch.cat([*(x.narrow(axis, i, 1) for i in behind), x, *(x.narrow(axis, i, 1) for i in ahead)], axis)


def _every_second(x: torch.Tensor, axis: int, start: int, n: int) -> torch.Tensor:
    return x.narrow(axis, start, 2 * n - 1)[..., ::2] if axis == -1 else x.narrow(axis, start, 2 * n - 1)[..., ::2, :]
