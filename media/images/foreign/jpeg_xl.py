"""JPEG XL: header and metadata through pillow-jxl-plugin, samples in their own depth through imagecodecs (both libjxl)."""

from __future__ import annotations

import io
from typing import BinaryIO, Literal

import imagecodecs
import numpy as np
from PIL import Image

from contract.errors import Unsupported
from contract.severity import Loss
from media.images.boxes import boxes
from media.images.foreign.picture import Foreign
from media.images.metadata import Metadata

_SELECTED = (9, 13, 18, 30)
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_MOST = 1 << 28
_MOST_METADATA = 16 << 20


def read(stream: BinaryIO, name: str, pixels: bool) -> Foreign:
    """Read a JPEG XL file. Raises Unsupported where the optional reader is missing, and for animations."""
    del pixels  # the depth shows in the samples alone
    try:
        import pillow_jxl  # noqa: F401  # registers itself with Pillow
    except ImportError as error:
        raise Unsupported(
            f"{name} is a JPEG XL file; install respool[formats] to read it, or convert it to PNG first."
        ) from error
    data = stream.read()
    width, height = size(data)
    if width * height > _MOST:
        raise Unsupported(f"{name} says it is {width} x {height} pixels; JPEG XL is read up to {_MOST} pixels.")
    Image.MAX_IMAGE_PIXELS = None
    image = Image.open(io.BytesIO(data), formats=["JXL"])
    if getattr(image, "n_frames", 1) > 1:
        raise Unsupported(f"{name} is an animated JPEG XL; extract the picture to restore first.")
    samples = np.asarray(imagecodecs.jpegxl_decode(data))
    samples = samples[..., None] if samples.ndim == 2 else samples
    if samples.dtype.name not in ("uint8", "uint16", "float32") or samples.ndim != 3 or samples.shape[2] > 4:
        raise Unsupported(f"{name} holds {samples.shape} samples of {samples.dtype}; convert it to PNG first.")
    bands = samples.shape[2]
    mode: Literal["grey", "rgb"] = "grey" if bands < 3 else "rgb"
    depth = {"uint8": 8, "uint16": 16, "float32": 32}[samples.dtype.name]
    metadata = _metadata(data, image.info.get("icc_profile"))
    return Foreign(
        samples.shape[1], samples.shape[0], mode, bands in (2, 4), depth, False, metadata=metadata, samples=samples
    )


_PICTURE = frozenset({b"JXL ", b"ftyp", b"jxlc", b"jxlp", b"jxll", b"jxli", b"jbrd", b"free"})
"""Boxes of the picture itself; jbrd serves to write a JPEG's own bytes again."""


def _metadata(data: bytes, icc: bytes | None) -> Metadata:
    """Return what the boxes hold beside the codestream, those that are packed with Brotli (brob) among them."""
    exif = xmp = None
    notes = []
    for kind, content in () if data.startswith(b"\xff\x0a") else boxes(data, 0, len(data)):
        if kind == b"brob":
            kind, content = content[:4], _unpacked(content[4:])
        if kind == b"Exif" and len(content) > 4:
            exif = content[4 + int.from_bytes(content[:4], "big") :].removeprefix(b"Exif\0\0")
        elif kind == b"xml ":
            xmp = content
        elif kind == b"jumb":
            notes.append(Loss("the C2PA manifest was left out: it signs the pixels before"))
        elif kind not in _PICTURE:
            notes.append(Loss(f"the {kind.decode('latin-1')!r} box of the JPEG XL file was left out"))
    return Metadata(icc=icc, exif=exif or None, xmp=xmp or None, notes=tuple(dict.fromkeys(notes)))


def _unpacked(packed: bytes) -> bytes:
    """Return what a Brotli stream holds; empty for a broken one and for one of more than `_MOST_METADATA` bytes."""
    try:
        return bytes(imagecodecs.brotli_decode(packed, out=_MOST_METADATA))
    except (RuntimeError, ValueError):
        return b""


def size(data: bytes) -> tuple[int, int]:
    """Width and height from the codestream's SizeHeader (ISO/IEC 18181-1, 3.2): a bomb is refused before it is decoded."""
    if data[:2] != b"\xff\x0a":
        at = next((data.find(kind) for kind in (b"jxlc", b"jxlp") if kind in data[:65_536]), -1)
        start = data.find(b"\xff\x0a", at) if at >= 0 else -1
        if start < 0:
            raise ValueError("no codestream")
        data = data[start:]
    bits = int.from_bytes(data[2:18], "little")
    place = 0

    def take(count: int) -> int:
        nonlocal place
        value = bits >> place & ((1 << count) - 1)
        place += count
        return value

    small = take(1)

    def length() -> int:
        return 8 * (take(5) + 1) if small else take(_SELECTED[take(2)]) + 1

    height = length()
    ratio = take(3)
    if not ratio:
        return length(), height
    top, bottom = _RATIOS[ratio]
    return height * top // bottom, height
