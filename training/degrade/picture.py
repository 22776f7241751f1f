"""Degradation of one image file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyvips

from contract.errors import BadInput
from media.images.header import read_pages
from media.images.pixels import open_pixels
from media.images.vips import sentence
from training.degrade.apply import Pixels, degrade
from training.degrade.draw import Draw

# Several float32 copies are in memory at once: 64 megapixels take about 3 GB.
MOST_PIXELS = 64_000_000
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")


def read_picture(source: Path) -> Pixels:
    """Read any image as height x width x 3 RGB uint8: upright, without alpha, grey copied to all channels.

    Raises BadInput when the source cannot be read or is over 64 megapixels.
    """
    pixels, grey, _ = _read(source)
    return np.repeat(pixels[:, :, :1], 3, axis=2) if grey else np.ascontiguousarray(pixels[:, :, :3])


def degrade_picture(source: Path, out: Path, drawn: Draw, scale: float) -> tuple[str, ...]:
    """Write the degraded copy of `source` as 8-bit PNG, and return notes on other changes.

    Raises BadInput when the source cannot be read or is over 64 megapixels.
    """
    pixels, grey, deep = _read(source)
    notes = [f"{source.name} has more than 8 bits and was rounded to 8, the depth of JPEG."] if deep else []
    bands = 1 if grey else 3
    colour = pixels[:, :, 0] if grey else pixels[:, :, :3]
    result = degrade(np.ascontiguousarray(colour), drawn, scale)
    done = pyvips.Image.new_from_array(result.reshape(*result.shape[:2], bands))
    if pixels.shape[2] > bands:
        height, width = result.shape[:2]
        alpha = pyvips.Image.new_from_array(np.ascontiguousarray(pixels[:, :, bands]))
        alpha = alpha.resize(width / alpha.width, vscale=height / alpha.height).gravity("north-west", width, height)
        done = done.bandjoin(alpha.cast("uchar"))
        notes.append(f"{source.name} has an alpha channel, which was reduced in size and not degraded.")
    done.copy(interpretation="b-w" if grey else "srgb").write_to_file(str(out), compression=9)
    return tuple(notes)


def _read(source: Path) -> tuple[Pixels, bool, bool]:
    """Return the upright samples of the first page (height x width x bands, uint8), whether they are grey, and were deeper."""
    pages, _ = read_pages(source, source.name)
    picture = pages[0].picture
    if picture.width * picture.height > MOST_PIXELS:
        raise BadInput(
            f"{source.name} has {picture.width}x{picture.height} pixels, "
            f"but the degradation takes at most {MOST_PIXELS // 1_000_000} megapixels; use a smaller image."
        )
    try:
        samples = open_pixels(source, picture, source.name, page=pages[0].index).numpy()
    except pyvips.Error as error:
        raise BadInput(f"{source.name} is damaged: {sentence(error)}; degrade another copy.") from error
    samples = samples.reshape(*samples.shape[:2], -1)
    deep = samples.dtype != np.uint8
    if deep:
        white = 65535.0 if samples.dtype == np.uint16 else 1.0
        samples = (samples.astype(np.float32) / white).clip(0, 1) * 255 + 0.5
    return samples.astype(np.uint8), picture.mode == "grey", deep
