"""Formats that libvips does not read here: each module gives a header, metadata and samples of its format through another library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyvips
from PIL import UnidentifiedImageError

from contract.errors import BadInput, Unsupported
from media.images.foreign.picture import Foreign
from media.images.sniff import FOREIGN, Format

MOST_PIXELS = 1 << 28
"""These decoders hold the whole picture in memory; 16,384 x 16,384 RGB pixels of 8 bits are 0.8 GB."""
_VIPS = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}


def _module(form: Format) -> Callable[[BinaryIO, str, bool], Foreign]:
    """Return the reader of a format; its libraries are imported when a file of the format is met."""
    if form == "jp2":
        from media.images.foreign.jpeg2000 import read
    elif form == "pnm":
        from media.images.foreign.pnm import read
    elif form == "jxl":
        from media.images.foreign.jpeg_xl import read
    elif form == "heic":
        from media.images.foreign.heic import read
    else:
        from media.images.foreign.by_pillow import reader

        return reader(form)
    return read


def header(file: Path | BinaryIO, form: Format, name: str) -> Foreign:
    """Size, kind and metadata of a file in a foreign format. Raises BadInput or Unsupported naming `name`."""
    found = _read(file, form, name, False)
    if found.width * found.height > MOST_PIXELS or min(found.width, found.height) < 1:
        raise Unsupported(
            f"{name} says it is {found.width} x {found.height} pixels, and {form.upper()} is read up to {MOST_PIXELS} pixels; "
            "convert it to a tiled TIFF first."
        )
    return found


def load(file: Path, form: Format, name: str) -> pyvips.Image:
    """Return the samples of a foreign file; raises BadInput naming `name` for one that cannot be decoded."""
    header(file, form, name)  # sizes are checked before memory is taken
    found = _read(file, form, name, True)
    assert found.samples is not None
    image = image_of(np.ascontiguousarray(found.samples))
    if found.mode == "cmyk":
        image = image.copy(interpretation="cmyk")
        if found.metadata.icc:
            image.set_type(pyvips.GValue.blob_type, "icc-profile-data", found.metadata.icc)
    return image


def image_of(samples: npt.NDArray[Any]) -> pyvips.Image:
    """Return samples H x W x C, uint8, uint16 or float32, as an image of libvips, with the meaning that their number has."""
    height, width, bands = samples.shape
    image = pyvips.Image.new_from_memory(samples, width, height, bands, _VIPS[samples.dtype.name])
    deep = samples.dtype.name != "uint8"
    meaning = ("grey16" if deep else "b-w") if bands < 3 else ("rgb16" if deep else "srgb")
    return image.copy(interpretation=meaning)


def _read(file: Path | BinaryIO, form: Format, name: str, pixels: bool) -> Foreign:
    try:
        if isinstance(file, Path):
            with file.open("rb") as stream:
                return _module(form)(stream, name, pixels)
        file.seek(0)
        return _module(form)(file, name, pixels)
    except (
        RuntimeError,
        ValueError,
        OSError,
        SyntaxError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        OverflowError,
        MemoryError,
        AttributeError,
        NotImplementedError,
        ZeroDivisionError,
    ) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        said = "its header is broken" if isinstance(error, UnidentifiedImageError) else said
        raise BadInput(
            f"{name} begins like a {form.upper()} image but cannot be decoded: {said}. Check the file with the program that wrote it."
        ) from error


__all__ = ["FOREIGN", "Foreign", "header", "image_of", "load"]
