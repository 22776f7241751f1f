"""Meaning of a TIFF's samples, and the meanings that libvips silently misreads.

TIFF 6.0 (Adobe, 1992) sections 4 to 6, 16 (inks), 18 (extra samples), 19 (sample formats), 21 (YCbCr), 23 (CIELab).
"""

from __future__ import annotations

import struct
from typing import Literal

from contract.errors import Unsupported
from media.images.tiff import Directory

BITS, COMPRESSION, PHOTOMETRIC, INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT = 258, 259, 262, 332, 338, 339
PLANAR, TILE_WIDTH, SAMPLES = 284, 322, 277
_IMAGE_DEPTH, _TILE_DEPTH = 32997, 32998
PALETTE = 3
_ZERO_IS_WHITE, _INKS, _YCBCR = 0, 5, 6
_FOREIGN = {4: "a transparency mask", 8: "CIELab", 9: "ICCLab", 10: "ITULab", 32844: "LogL", 32845: "LogLuv"}
_DECODERS: dict[int, Literal["libvips", "tifffile"]] = {
    1: "libvips", 2: "libvips", 3: "libvips", 4: "libvips", 5: "libvips", 7: "libvips", 8: "libvips", 32946: "libvips",
    32773: "libvips", 50001: "libvips",
    34925: "tifffile", 34926: "tifffile", 50000: "tifffile", 34887: "tifffile", 33004: "tifffile", 33005: "tifffile",
    34712: "tifffile", 34927: "tifffile", 34933: "tifffile", 34934: "tifffile", 22610: "tifffile", 50002: "tifffile", 52546: "tifffile",
}  # fmt: skip
"""Decoder of each compression of a TIFF: libvips' libtiff, or tifffile with imagecodecs."""
_NAMES = {
    6: "old-style JPEG", 9: "JBIG (T.85)", 10: "JBIG (T.43)", 32766: "NeXT", 32771: "CCITT RLE with word alignment", 32809: "ThunderScan",
    32895: "RasterPadding", 32896: "RLE line work", 32897: "RLE high-contrast", 32898: "RLE binary line work", 32908: "Pixar film",
    32909: "PixarLog", 33003: "JPEG 2000 in YCbCr", 33007: "JPEG in YCbCr", 34661: "JBIG", 34676: "SGI LogLuv", 34677: "SGI LogLuv, 24 bits",
    34715: "JBIG2", 34892: "lossy JPEG of a DNG", 65535: "Pentax PEF", 34713: "Nikon NEF", 32767: "Sony ARW", 32769: "packed raw",
}  # fmt: skip
"""Compressions that no decoder here reads, by the names that other programs show."""
_BITS = (1, 2, 4, 8, 16, 32)
_JPEG = (6, 7)
"""Compressions whose decoder turns YCbCr into RGB itself."""
_FLOAT = 3

Extra = Literal["alpha", "premultiplied", "unspecified"]
"""The meaning of a band beyond the colours: transparency, transparency that the colours were multiplied with, not told."""


def check(page: Directory, name: str) -> None:
    """Raise Unsupported, naming `name`, for samples that would be shown as something that they are not."""
    kind = page.number(PHOTOMETRIC, 1)
    bits, floating = page.number(BITS, 1), page.number(SAMPLE_FORMAT, 1) == _FLOAT
    if kind in _FOREIGN:
        raise Unsupported(f"{name} holds {_FOREIGN[kind]}, which Respool does not restore; convert it to RGB first.")
    depth = max(page.number(_IMAGE_DEPTH, 1), page.number(_TILE_DEPTH, 1))
    if depth > 1:
        raise Unsupported(f"{name} is a volume of {depth} planes (ImageDepth); save them as pages first.")
    if bits not in _BITS:
        raise Unsupported(f"{name} has {bits}-bit samples; convert it to 8 or 16 bits, or to float of 32.")
    if kind == _YCBCR and page.number(COMPRESSION, 1) not in _JPEG:
        raise Unsupported(f"{name} stores YCbCr without JPEG, which Respool does not read; convert it to RGB first.")
    if kind == _INKS and page.number(INK_SET, 1) != 1:
        raise Unsupported(f"{name} is for other inks than cyan, magenta, yellow and black; convert it to RGB first.")
    if kind == _ZERO_IS_WHITE and floating:
        raise Unsupported(f"{name} is of floats that begin with white; convert it so that 0 is black first.")
    if floating and kind == 1 and extra_meaning(page) == "premultiplied":
        raise Unsupported(f"{name} is grey of floats multiplied with alpha; convert it to straight alpha first.")


def extra_meaning(page: Directory) -> Extra:
    """Return what the directory says of the band beyond its colours; `unspecified` where it says nothing."""
    found = page.tags.get(EXTRA_SAMPLES)
    values = found.numbers() if found else ()
    return {1: "premultiplied", 2: "alpha"}.get(values[0] if values else 0, "unspecified")  # type: ignore[return-value]  # literals


def decoder(page: Directory, name: str) -> Literal["libvips", "tifffile"]:
    """Return the decoder of the page's compression; raise Unsupported, naming it and `name`, when there is none."""
    code = page.number(COMPRESSION, 1)
    known = _DECODERS.get(code)
    if known is None:
        called = (
            f"{_NAMES[code]} compression ({code})"
            if code in _NAMES
            else f"compression {code}, which Respool does not know"
        )
        raise Unsupported(
            f"{name} is a TIFF with {called}; its pixels are not damaged, but nothing here reads them: rewrite it with LZW or deflate "
            "in the program that wrote it, or with libtiff's tiffcp."
        )
    half = page.number(BITS, 1) == 16 and page.number(SAMPLE_FORMAT, 1) == _FLOAT
    odd = TILE_WIDTH in page.tags or page.number(SAMPLES, 1) == 2 or half
    # Of samples in planes, libvips 8.18 refuses tiles, and displaces rows of grey with alpha and of 16-bit floats.
    return "tifffile" if page.number(PLANAR, 1) == 2 and odd else known


_MAX_SAMPLE, _S_MAX_SAMPLE = 281, 341


def white(page: Directory) -> float | None:
    """Return the stated largest sample (SMaxSampleValue, MaxSampleValue), as a share of the largest that its type holds (floats: as it is).

    None where it is not stated, or at least half of what the type holds: then it tells of the picture's contents, not of its scale.
    """
    bits, floating = page.number(BITS, 1), page.number(SAMPLE_FORMAT, 1) == _FLOAT
    for tag in (_S_MAX_SAMPLE, _MAX_SAMPLE):
        found = page.tags.get(tag)
        if found is None:
            continue
        values: tuple[float, ...] = found.numbers()
        if found.kind in (11, 12):
            values = struct.unpack(f"<{found.count}{'f' if found.kind == 11 else 'd'}", found.data)
        value = max(values, default=0.0)
        if floating and value > 1:
            return value
        top = (1 << bits) - 1
        if not floating and bits in (16, 32) and 0 < value <= top / 2:
            return value / top
    return None
