"""JPEG 2000: files (JP2, ITU-T T.800 annex I) and bare codestreams, decoded by OpenJPEG through imagecodecs."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import BinaryIO

import imagecodecs
import numpy as np

from contract.errors import BadInput, Unsupported
from contract.severity import Loss
from media.images.boxes import boxes
from media.images.foreign.picture import Foreign, widened
from media.images.metadata import Density, Metadata

_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF = b"JpgTiffExif->JP2"
_IPTC = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
_MOST_BOX = 64 << 20
_SPACES = {16: "rgb", 17: "grey", 18: "sYCC"}


def read(stream: BinaryIO, name: str, pixels: bool) -> Foreign:
    """Read a JP2 file or codestream. Raises BadInput for a broken one and Unsupported for components that are no grey or RGB picture."""
    whole = stream.read()
    found = [(b"jp2c", whole)] if whole.startswith(b"\xff\x4f") else list(boxes(whole, 0, len(whole)))
    stream_box = next((data for kind, data in found if kind == b"jp2c"), None)
    if stream_box is None:
        raise BadInput(f"{name} is a JPEG 2000 file without a picture; copy it again from where it came.")
    width, height, depths, reversible = _codestream(stream_box, name)
    metadata, palette, alpha, space = _metadata(found)
    count = 3 if palette else len(depths)
    if count not in (1, 2, 3, 4) or len(set(depths)) > 1 or depths[0] > 16:
        raise Unsupported(
            f"{name} has {len(depths)} components of {sorted(set(depths))} bits; convert it to TIFF first."
        )
    if space == "other":
        raise Unsupported(
            f"{name} is in a colour space other than grey, sRGB and that of an ICC profile; convert it to TIFF first."
        )
    alpha = alpha or count in (2, 4)
    samples = widened(np.asarray(imagecodecs.jpeg2k_decode(whole)), 8 if palette else depths[0]) if pixels else None
    if samples is not None and samples.shape != (height, width, count):
        raise Unsupported(
            f"{name} decodes to {samples.shape} samples, not {(height, width, count)}: subsampled or shifted components; convert it to TIFF first."
        )
    mode = "grey" if count < 3 else "rgb"
    depth = 8 if palette else max(depths)
    return Foreign(width, height, mode, alpha, depth, reversible, palette, metadata=metadata, samples=samples)  # type: ignore[arg-type]  # one of the two literals


def _codestream(data: bytes, name: str) -> tuple[int, int, list[int], bool]:
    """(width, height, bits of each component, reversible) from the main header (T.800 annex A)."""
    if data[:4] != b"\xff\x4f\xff\x51" or len(data) < 42:
        raise BadInput(f"{name} has no JPEG 2000 codestream; copy it again from where it came.")
    right, bottom, left, top = struct.unpack(">IIII", data[8:24])
    count = int.from_bytes(data[40:42], "big")
    parts = [data[42 + 3 * n : 45 + 3 * n] for n in range(min(count, 16))]
    if any(len(part) < 3 or part[0] & 0x80 for part in parts) or not parts:
        raise Unsupported(f"{name} has signed or missing JPEG 2000 components; convert it to TIFF first.")
    at = data.find(b"\xff\x52", 42, 65_536)
    reversible = 0 < at < len(data) - 14 and data[at + 13] == 1
    return right - left, bottom - top, [(part[0] & 0x7F) + 1 for part in parts], reversible


def _metadata(outer: list[tuple[bytes, bytes]]) -> tuple[Metadata, bool, bool, str]:
    """(metadata, palette, alpha, colour space) of a JP2 file's boxes."""
    inner = [pair for kind, data in outer if kind == b"jp2h" for pair in boxes(data, 0, len(data))]
    icc = xmp = exif = iptc = density = None
    palette, alpha, space = False, False, ""
    notes = []
    for kind, data in inner:
        if kind == b"colr" and not space and len(data) >= 3:
            if data[0] == 1:
                space = _SPACES.get(int.from_bytes(data[3:7], "big"), "other")
            elif data[0] == 2:
                icc, space = data[3:], "icc"
        palette |= kind == b"pclr"
        alpha |= kind == b"cdef" and any(data[n : n + 2] == b"\0\1" for n in range(4, len(data), 6))
        if kind == b"res ":
            density = _density(data)
    for kind, data in outer:
        if kind == b"uuid" and len(data) < _MOST_BOX:
            if data[:16] == _XMP:
                xmp = data[16:]
            elif data[:16] == _EXIF:
                exif = data[16:].removeprefix(b"Exif\0\0")
            elif data[:16] == _IPTC:
                iptc = data[16:]
            else:
                notes.append(Loss(f"a box of an unknown kind ({data[:16].hex()}) was left out"))
        elif kind not in (b"jP  ", b"ftyp", b"jp2h", b"jp2c", b"uuid", b"free"):
            notes.append(Loss(f"the {kind.decode('latin-1')!r} box of the JPEG 2000 file was left out"))
    return Metadata(icc=icc, exif=exif, xmp=xmp, iptc=iptc, density=density, notes=tuple(notes)), palette, alpha, space


def _density(data: bytes) -> Density | None:
    """Return the capture or display resolution of a res box, in pixels per metre."""
    for kind in (b"resc", b"resd"):
        for found, body in boxes(data, 0, len(data)):
            if found == kind and len(body) >= 10:
                vn, vd, hn, hd, ve, he = struct.unpack(">HHHHbb", body[:10])
                if vn and vd and hn and hd and abs(ve) < 12 and abs(he) < 12:
                    x, y = Fraction(hn, hd) * Fraction(10) ** he, Fraction(vn, vd) * Fraction(10) ** ve
                    return Density(x / 100, y / 100, "cm")
    return None
