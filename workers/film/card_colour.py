"""Conversion of a film's frames in 4:2:0 on a card, one pass each way; everything else goes through `workers.film.colour`."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType

import av
import numpy as np
import torch

from contract.film import Colour
from workers.card.pictures import Picture, Tables, codes_from_rgb, rgb_from_codes
from workers.card.proof import Proofs
from workers.film import colour as every_pass
from workers.film.chroma_filters import doubling
from workers.film.code_values import KR_KB, chroma_levels, luma_levels
from workers.film.colour_tags import tag
from workers.film.pixel_layout import Layout, layout
from workers.film.planes import read, write_words
from workers.llvm.yuv import TAPS, Filter

SMALLEST = TAPS
"""Rows or columns of the smallest picture whose chroma the filters cover."""
_TRIAL = "workers.film.card_trial"


def conversions(proofs: Proofs | None) -> ModuleType:
    """Return this module where its kernels are proved on the card at hand, else `workers.film.colour`."""
    found = proofs.outcome(_TRIAL) if proofs is not None else None
    return sys.modules[__name__] if found is not None and found["right"] is True else every_pass


def to_rgb(frame: av.VideoFrame, colour: Colour, device: torch.device | str) -> torch.Tensor:
    """Convert the frame as `colour.to_rgb` does; the results differ by the rounding of a float32."""
    form = layout(frame.format.name)
    if not fits(form, colour, frame.height, frame.width):
        return every_pass.to_rgb(frame, colour, device)
    luma, chroma = read(frame, form, torch.device(device))
    rgb = torch.empty((1, 3, frame.height, frame.width), device=luma.device)
    rgb_from_codes(
        luma[0, 0], chroma[0], _to_rgb_tables(frame.height, frame.width, form, colour, luma.device), rgb[0], False
    )
    return rgb


def from_rgb(
    rgb: torch.Tensor, pix_fmt: str, colour: Colour, make: Callable[[int, int, str], av.VideoFrame] = av.VideoFrame
) -> av.VideoFrame:
    """Convert as `colour.from_rgb` does; codes differ by one where a value lies between two to the last bits of a float32."""
    form = layout(pix_fmt)
    height, width = rgb.shape[-2:]
    if not fits(form, colour, height, width):
        return every_pass.from_rgb(rgb, pix_fmt, colour, make)
    words, _ = to_words(Picture(rgb[0]), form, colour, limit=False)
    return to_frame(words, (height, width), pix_fmt, colour, make)


def to_words(picture: Picture, form: Layout, colour: Colour, limit: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the words of all planes on the card, one after the other, and the flags of `codes_from_rgb`."""
    height, width = picture.size
    device = picture.image.device
    kind = torch.uint8 if form.bits <= 8 else torch.int16
    words = torch.empty(sum(map(math.prod, _shapes(height, width, form))), dtype=kind, device=device)
    planes = _planes(words, height, width, form)
    luma, cb, cr = (
        next(plane[..., members.index(c)] for plane, members in zip(planes, form.order, strict=True) if c in members)
        for c in range(3)
    )
    tables = _from_rgb_tables(height, width, form, colour, device)
    return words, codes_from_rgb(picture, luma, cb, cr, tables, 1 << form.shift, limit)


def to_frame(
    words: torch.Tensor,
    size: tuple[int, int],
    pix_fmt: str,
    colour: Colour,
    make: Callable[[int, int, str], av.VideoFrame] = av.VideoFrame,
) -> av.VideoFrame:
    """Copy the words of `to_words` from the card into a frame of `size` (height, width), from `make`, with the tags of `colour`."""
    form = layout(pix_fmt)
    frame = make(size[1], size[0], form.plain)
    write_words(frame, form, _planes(words, *size, form))
    if form.plain != pix_fmt:
        frame = frame.reformat(format=pix_fmt)
    tag(frame, colour)
    return frame


def _shapes(height: int, width: int, form: Layout) -> list[tuple[int, int, int]]:
    """Return height, width and interleaved channels of each plane."""
    lines, columns = -(-height // 2), -(-width // 2)
    return [(height, width, 1), *((lines, columns, len(members)) for members in form.order[1:])]


def _planes(words: torch.Tensor, height: int, width: int, form: Layout) -> list[torch.Tensor]:
    """Return the planes that lie one after the other in `words`."""
    shapes = _shapes(height, width, form)
    return [
        part.view(shape) for part, shape in zip(torch.split(words, list(map(math.prod, shapes))), shapes, strict=True)
    ]


def fits(form: Layout, colour: Colour, height: int, width: int) -> bool:
    """Return whether the kernels have the format, and the picture enough rows and columns for their filters."""
    return form.model == "yuv" and form.down == (2, 2) and colour.matrix in KR_KB and min(height, width) >= SMALLEST


@lru_cache(maxsize=16)
def _to_rgb_tables(height: int, width: int, form: Layout, colour: Colour, device: torch.device) -> Tables:
    on_column, row = every_pass.chroma_site(form, colour)
    black, span = luma_levels(form.bits, colour.full)
    neutral, gain = chroma_levels(form.bits, colour.full)
    kr, kb = KR_KB[colour.matrix]
    kg = 1 - kr - kb
    weights = (0, 2 * (1 - kr), -2 * kb * (1 - kb) / kg, -2 * kr * (1 - kr) / kg, 2 * (1 - kb), 0)
    numbers = (black, 1 / span, neutral, 1 / gain, *weights)
    return _tables(
        doubling(height, row != "centre", row == "bottom"), doubling(width, on_column, False), numbers, device
    )


@lru_cache(maxsize=16)
def _from_rgb_tables(height: int, width: int, form: Layout, colour: Colour, device: torch.device) -> Tables:
    found = every_pass.numbers(form, colour)
    numbers = (*found.y, found.black, *found.cb, *found.cr, found.neutral, found.most)
    return _tables(*every_pass.filters(height, width, form, colour), numbers, device)


def _tables(rows: Filter, columns: Filter, numbers: tuple[float, ...], device: torch.device) -> Tables:
    starts = [torch.from_numpy(f.starts.astype(np.int32)).to(device) for f in (rows, columns)]
    taps = [torch.from_numpy(f.taps).to(device) for f in (rows, columns)]
    made = Tables(starts[0], taps[0], starts[1], taps[1], torch.tensor(numbers, dtype=torch.float32, device=device))
    if device.type == "cuda":  # other threads' streams will read them, too
        torch.cuda.current_stream(device).synchronize()
    return made
