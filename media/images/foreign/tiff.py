"""TIFF pages in compressions that libvips lacks, decoded strip by strip through tifffile and imagecodecs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyvips
import tifffile
from tifffile import EXTRASAMPLE, PHOTOMETRIC

from contract.errors import BadInput, Unsupported
from media.images.foreign.picture import BROKEN_TAGS, widened

MAPPED = 128 << 20
"""Bytes of samples above which they lie in a temporary file that is mapped, so that memory stays bounded."""
_KNOWN = (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE, PHOTOMETRIC.SEPARATED)


def load(file: Path, index: int, name: str, grey: bool, lenient: bool = False) -> pyvips.Image:
    """Return the samples of one page as libvips would give them: white is large, palettes are expanded (to one band where they are `grey`), planes are interleaved.

    With `lenient`, strips that cannot be decoded stay black. Raises BadInput naming `name` for damage, Unsupported for a kind of samples.
    """
    try:
        return _loaded(file, index, name, grey, lenient)
    except (BadInput, NotImplementedError) as error:
        if isinstance(error, BadInput):
            raise
        raise Unsupported(
            f"{name} is a TIFF in a form that tifffile does not decode ({error}); rewrite it with LZW first."
        ) from error
    except (tifffile.TiffFileError, *BROKEN_TAGS) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:150]
        raise BadInput(
            f"{name} has TIFF tags that contradict each other ({said}); restore it from another copy."
        ) from error


def _loaded(file: Path, index: int, name: str, grey: bool, lenient: bool) -> pyvips.Image:
    with tifffile.TiffFile(file, is_ome=False, is_shaped=False) as found:
        page = found.pages[index]
        if not isinstance(page, tifffile.TiffPage) or page.dtype is None or page.photometric not in _KNOWN:
            raise Unsupported(
                f"{name} holds samples that Respool does not read in this compression; rewrite it with LZW first."
            )
        samples, missing = _samples(found, page)
        if missing and not lenient:
            raise BadInput(f"{name} is damaged: {missing}; restore it from another copy.")
        return _image(samples, page, grey)


def _samples(found: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[npt.NDArray[Any], str]:
    """Return samples H x W x C, and what could not be decoded."""
    assert page.dtype is not None
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
    if not all(shape):
        raise ValueError(f"they state {shape[1]} x {shape[0]} pixels of {shape[2]} samples")
    size = int(np.prod(shape)) * page.dtype.itemsize
    kind = np.uint8 if page.dtype == bool else page.dtype
    if size > MAPPED:
        with tempfile.TemporaryFile(prefix="respool-") as file:
            samples: npt.NDArray[Any] = np.memmap(file, kind, "w+", shape=shape)
    else:
        samples = np.zeros(shape, kind)
    missing = ""
    for number, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=False)):
        try:
            part, place = decode(found, page, number, offset, count)
        except NotImplementedError:
            raise
        except (ValueError, RuntimeError, OSError, IndexError) as error:
            missing = (
                missing
                or f"strip or tile {number} cannot be decoded ({(str(error).splitlines() or ['no reason'])[0][:150]})"
            )
            continue
        top, left = place[2], place[3]
        area = samples[top : top + part.shape[0], left : left + part.shape[1], place[0] : place[0] + part.shape[2]]
        area[...] = part[: area.shape[0], : area.shape[1]]
    return samples, missing


def decode(
    found: tifffile.TiffFile, page: tifffile.TiffPage, number: int, offset: int, count: int
) -> tuple[npt.NDArray[Any], tuple[int, ...]]:
    """One strip or tile, h x w x samples, and where it lies; raises ValueError for one that is not there."""
    if not count:
        raise ValueError("it is missing")
    found.filehandle.seek(offset)
    data = found.filehandle.read(count)
    if len(data) < count:
        raise ValueError(f"{len(data)} of {count} bytes are there")
    part, place, _ = page.decode(data, number, jpegtables=page.jpegtables)
    if part is None:
        raise ValueError("it is empty")
    return part[0], place


def _image(samples: npt.NDArray[Any], page: tifffile.TiffPage, grey: bool) -> pyvips.Image:
    kind = page.photometric
    if kind == PHOTOMETRIC.PALETTE and page.colormap is not None:
        samples = (page.colormap >> 8).astype(np.uint8).T[samples[..., 0]][..., : 1 if grey else 3]
    elif samples.dtype.kind == "u" and page.bitspersample not in (8, 16, 32):
        samples = widened(samples, page.bitspersample)
    elif samples.dtype == np.float64 or samples.dtype == np.float16:
        samples = samples.astype(np.float32)
    if kind == PHOTOMETRIC.MINISWHITE:
        samples = np.concatenate([np.iinfo(samples.dtype).max - samples[..., :1], samples[..., 1:]], axis=2)
    height, width, bands = samples.shape
    names = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}
    if samples.dtype.name not in names:
        raise Unsupported(f"the TIFF holds samples of {samples.dtype}; convert it to 8 or 16 bits, or to float.")
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(samples), width, height, bands, names[samples.dtype.name])
    meaning = "cmyk" if kind == PHOTOMETRIC.SEPARATED else _meaning(bands, samples.dtype.name)
    image = image.copy(interpretation=meaning)
    if page.extrasamples[:1] == (EXTRASAMPLE.ASSOCALPHA,) and bands in (2, 4) and kind != PHOTOMETRIC.SEPARATED:
        image = _divided(image)
    if page.iccprofile:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", bytes(page.iccprofile))
    orientation = page.tags.get(274)
    if orientation is not None:
        image.set_type(pyvips.GValue.gint_type, "orientation", int(orientation.value))
    return image


def _divided(image: pyvips.Image) -> pyvips.Image:
    """Return colours that were multiplied with alpha divided by it, as libvips does for the files that it reads itself."""
    straight = image.unpremultiply(max_alpha={"uchar": 255, "ushort": 65535}.get(image.format, 1))
    whole = straight if image.format == "float" else straight.rint()
    return whole.cast(image.format).copy(interpretation=image.interpretation)


def _meaning(bands: int, kind: str) -> str:
    if bands < 3:
        return "grey16" if kind == "uint16" else "b-w"
    return {"uint8": "srgb", "uint16": "rgb16"}.get(kind, "scrgb")
