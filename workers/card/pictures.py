"""Code values of Y'CbCr 4:2:0 on a card to R'G'B' and back, one pass each; `workers.film.card_colour` says with which filters."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from workers.card.launch import launching_on

_BLOCK = 128
"""Columns of one program; 256 luma columns of a row are one to two kilobytes."""


@dataclass(frozen=True)
class Tables:
    """The filters of rows and columns, and the constants of a matrix and range, in a card's memory.

    `row_starts` and `column_starts` are int32, one for each row or column of the result; their taps are float32, one row of taps each.
    `numbers` is float32: for codes to RGB the code of black, 1 / span, the code of neutral chroma, 1 / its span, and the weights of Cb and
    Cr in R, G and B; for RGB to codes those of `workers.llvm.yuv.Numbers`, in order.
    """

    row_starts: torch.Tensor
    row_taps: torch.Tensor
    column_starts: torch.Tensor
    column_taps: torch.Tensor
    numbers: torch.Tensor

    def all(self) -> tuple[torch.Tensor, ...]:
        """Return the tables in the order of the kernels' arguments."""
        return self.row_starts, self.row_taps, self.column_starts, self.column_taps, self.numbers


@dataclass(frozen=True)
class Picture:
    """A picture as a network leaves it.

    `image` is C x h x w of any float type and strides. With a `shuffle` of s above 1, C is at least 3 s * s, whose values are the pixels
    of squares of side s as torch's PixelShuffle reads them, and `base`, 3 x h x w, is added to every pixel of a square.
    """

    image: torch.Tensor
    shuffle: int = 1
    base: torch.Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[-2] * self.shuffle, self.image.shape[-1] * self.shuffle


def rgb_from_codes(luma: torch.Tensor, chroma: torch.Tensor, tables: Tables, rgb: torch.Tensor, limit: bool) -> None:
    """Fill `rgb`, 3 x H x W of any float type and strides, from `luma`, H x W, and `chroma`, 2 x h x w; integers of one type.

    `limit` keeps values within [0, 1], for networks.
    """
    from workers.card.picture_kernels import codes_to_rgb

    height, width = rgb.shape[-2:]
    with launching_on(rgb):
        codes_to_rgb[(-(-width // _BLOCK), height)](
            luma, chroma, rgb, *tables.all(), width, *luma.stride(), *chroma.stride(), *rgb.stride(), limit, _BLOCK
        )


def codes_from_rgb(
    picture: Picture, luma: torch.Tensor, cb: torch.Tensor, cr: torch.Tensor, tables: Tables, scale: int, limit: bool
) -> torch.Tensor:
    """Fill `luma`, H x W, and `cb` and `cr`, h x w, with code values times `scale`; the two have the same strides.

    Codes are rounded to the nearest, halves to even, and clipped to their range; `limit` keeps R, G and B within [0, 1] before.
    Returns two int32 on the card: the bits of the largest value as a float32 (0 if all are negative), and 1 if any value is infinite
    or NaN, else 0.
    """
    from workers.card.picture_kernels import rgb_to_codes

    height, width = picture.size
    flags = torch.zeros(2, dtype=torch.int32, device=luma.device)
    base = picture.image if picture.base is None else picture.base
    with launching_on(luma):
        rgb_to_codes[(-(-cb.shape[-1] // _BLOCK), cb.shape[-2])](
            picture.image, base, luma, cb, cr, flags, *tables.all(), height, width, cb.shape[-1], *picture.image.stride(), *base.stride(),
            *luma.stride(), *cb.stride(), scale, picture.shuffle, limit, _BLOCK,
        )  # fmt: skip
    return flags
