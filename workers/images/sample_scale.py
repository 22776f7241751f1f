"""The scale of an image's samples: the value of white, and samples outside the range on which networks were trained."""

from __future__ import annotations

from pathlib import Path

import pyvips
import torch

from contract.errors import BadInput, Unsupported
from contract.job import Spec
from media.images import vips
from media.images.header import Page, Picture
from media.images.output_plan import Target
from media.images.pixels import open_pixels

_OUTSIDE = 0.01
"""Largest share of samples outside black and white that may be resampled instead of being processed by the network."""
_DARK = 0.25
"""Below this share of the range for its largest sample, a 16-bit image probably has fewer bits."""
_SLACK = 1e-4


def white_of(picture: Picture, spec: Spec) -> float:
    """Return white as a share of the type's largest sample (for floats, its value): from the spec, else from the file, else 1."""
    if spec.white is not None:
        return spec.white if picture.floating else min(1.0, spec.white / ((1 << picture.depth) - 1))
    return picture.white or 1.0


class SampleScale:
    """Scaling of samples to black 0 and white 1 and back, with a count of those outside; a TIFF result keeps the source's scale."""

    def __init__(self, picture: Picture, target: Target, spec: Spec) -> None:
        self._picture, self._target = picture, target
        self._white = white_of(picture, spec)
        self._count, self._outside, self._peak = 0, 0, 0.0

    def normalise(self, x: torch.Tensor) -> torch.Tensor:
        """Divide samples by white."""
        scaled = x if self._white == 1 else x / self._white
        if self._picture.deep:
            self._count += scaled.numel()
            self._outside += int(((scaled < -_SLACK) | (scaled > 1 + _SLACK)).sum())
            self._peak = max(self._peak, float(scaled.max()))
        return scaled

    def restore(self, made: torch.Tensor) -> torch.Tensor:
        """Multiply a result by white if it keeps the source's scale."""
        return made * self._white if self._white != 1 and self._target.format == "tiff" else made

    def notes(self, whole: bool) -> list[str]:
        """Return notes for the user; those on the range only for a `whole` page that a network enlarged."""
        picture, notes = self._picture, []
        top = 1 if picture.floating else (1 << picture.depth) - 1
        if self._white != 1:
            kept = "the result keeps that scale" if self._target.format == "tiff" else "the result uses the whole range"
            notes.append(f"white was taken to be {self._white * top:.6g}; {kept}")
        if not whole or not self._count:
            return notes
        share = self._outside / self._count
        if share > 0:
            notes.append(
                f"{max(0.01, share * 100):.2g}% of the samples are outside black and white, which the network cannot process; they were resampled"
            )
        if not picture.floating and picture.depth == 16 and 0 < self._peak < _DARK:
            bits = max(8, int(self._peak * top).bit_length())
            notes.append(
                f"no sample is above {round(self._peak * top)} of {top}, so the network's input was dark; if the image has {bits} bits, "
                f"restore it with --white {(1 << bits) - 1}"
            )
        return notes


def refuse_unscaled(file: Path, page: Page, name: str, spec: Spec) -> None:
    """Raise Unsupported for floats of which more than a hundredth are outside black and white, which a network cannot process."""
    image = open_pixels(file, page.picture, name, "none", page.index)
    colours = image[: 1 if page.picture.mode == "grey" else 3] if page.picture.alpha else image
    white = white_of(page.picture, spec)
    pyvips.vips_lib.vips_error_clear()
    try:
        outside = (((colours > white * (1 + _SLACK)) | (colours < -_SLACK * white)).avg()) / 255
    except pyvips.Error as error:
        raise BadInput(f"{name} cannot be decoded: {vips.sentence(error)}; restore it from another copy.") from error
    if outside <= _OUTSIDE:
        return
    image = open_pixels(file, page.picture, name, "none", page.index)
    raise Unsupported(
        f"{name} has floats up to {image.max():.6g}, {outside * 100:.0f}% of them outside 0 (black) to {white:g} (white), which a network "
        "cannot process; name the value that is white, for instance --white 255, or scale the samples first."
    )
