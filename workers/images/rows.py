"""Reading of an image's samples from top to bottom, and conversion to tensors and back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyvips
import torch

from contract.errors import BadInput
from media.images import vips

Pixels = npt.NDArray[np.generic]

_TOP = {1: 255.0, 2: 65535.0}
"""White of an integer sample, by its size in bytes."""
_AT_ONCE = 64
"""Rows fetched by one call: tall enough for the strips and tiles that scanners write."""


class Rows:
    """A reader of an image's rows from top to bottom that keeps the rows that the next blocks still need."""

    def __init__(self, image: pyvips.Image, name: str) -> None:
        self._region = pyvips.Region.new(image)
        self._image = image
        self._name = name
        self._kind = np.dtype({"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}[image.format])
        self._first = 0
        self._held = np.empty((0, image.width, image.bands), self._kind)

    def read(self, top: int, bottom: int) -> Pixels:
        """Return rows `top` .. `bottom` - 1, H x W x C. `top` must not decrease between calls; raise BadInput for damaged data."""
        if top > self._first:
            self._held = self._held[top - self._first :].copy()
            self._first = top
        have = max(top, self._first + len(self._held))  # a band of an image starts below the image's top
        if bottom > have:
            self._held = np.concatenate([self._held, *self._fetch(have, bottom)])
        return self._held[top - self._first : bottom - self._first]

    def _fetch(self, top: int, bottom: int) -> Iterator[Pixels]:
        width, bands = self._image.width, self._image.bands
        for row in range(top, bottom, _AT_ONCE):
            height = min(_AT_ONCE, bottom - row)
            pyvips.vips_lib.vips_error_clear()
            try:
                data = self._region.fetch(0, row, width, height)
            except pyvips.Error as error:
                raise BadInput(
                    f"{self._name} is damaged from row {row} on: {vips.sentence(error)}; restore it from another copy."
                ) from error
            rows = np.frombuffer(data, self._kind).reshape(height, width, bands)
            if rows.dtype.kind == "f" and not np.isfinite(rows).all():
                raise BadInput(
                    f"{self._name} has samples that are not a number (NaN) or infinite between rows {row} and {row + height - 1}; "
                    "replace them first."
                )
            yield rows


def to_tensor(samples: Pixels) -> torch.Tensor:
    """Convert H x W x C samples to 1 x C x H x W float32; integers are divided by their largest value."""
    scale = 1.0 if samples.dtype.kind == "f" else 1.0 / _TOP[samples.dtype.itemsize]
    plain = np.multiply(samples, scale, dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(plain.transpose(2, 0, 1))[None])


def to_samples(made: torch.Tensor, kind: np.dtype[np.generic]) -> Pixels:
    """Convert 1 x C x h x w float32 to h x w x C of `kind`, clipped and rounded to the nearest level; floats stay unchanged."""
    plain = made[0].permute(1, 2, 0)
    if kind.kind == "f":
        return plain.contiguous().cpu().numpy()
    # float32 represents 65535 levels with seven bits to spare, so the rounding is exact.
    levels = (plain.clamp(0, 1) * _TOP[kind.itemsize]).round_().to(torch.int32)
    return np.ascontiguousarray(levels.cpu().numpy().astype(kind))
