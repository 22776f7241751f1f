"""BMP, GIF and Photoshop documents (their flattened picture), read by Pillow's own decoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import Image

from contract.errors import Unsupported
from contract.severity import Loss
from media.images.foreign import gif_blocks
from media.images.foreign.picture import Foreign
from media.images.metadata import Density, Metadata, split_photoshop
from media.images.sniff import Format

_NAMES: dict[str, str] = {"bmp": "BMP", "gif": "GIF", "psd": "PSD"}
_WANTED = {
    "1": "L",
    "L": "L",
    "P": "RGB",
    "PA": "RGBA",
    "LA": "LA",
    "RGB": "RGB",
    "RGBA": "RGBA",
    "RGBX": "RGB",
    "CMYK": "CMYK",
}
_PSD_MODES = {0: "bitmap", 1: "grey", 2: "palette", 3: "RGB", 4: "CMYK", 7: "multichannel", 8: "duotone", 9: "CIELab"}
_PSD_READ = frozenset({0, 1, 2, 3, 4})
_MOST_PROFILE = 16 << 20
_MERGED = 0x0421
_ICC, _EXIF, _XMP, _RESOLUTION = 0x040F, 0x0422, 0x0424, 0x03ED


def reader(form: Format) -> Callable[[BinaryIO, str, bool], Foreign]:
    """Return the reader of BMP, GIF or PSD."""

    def read(stream: BinaryIO, name: str, pixels: bool) -> Foreign:
        if form == "psd":
            _refuse_psd(stream, name)
        Image.MAX_IMAGE_PIXELS = None  # the caller checks sizes
        image = Image.open(stream, formats=[_NAMES[form]])
        if form == "gif" and getattr(image, "n_frames", 1) > 1:
            raise Unsupported(f"{name} is an animated GIF; extract the picture to restore first.")
        metadata, notes = _photoshop(image, name) if form == "psd" else (_plain(image), [])
        if form == "bmp":
            metadata = _windows(stream, metadata)
        elif form == "gif":
            stream.seek(0)
            metadata = gif_blocks.read(stream.read())
        return _described(image, name, form, pixels, metadata, notes)

    return read


def _refuse_psd(stream: BinaryIO, name: str) -> None:
    """Raise Unsupported for Photoshop documents of depths and modes that Pillow does not read (File Header Section)."""
    head = stream.read(26)
    stream.seek(0)
    if len(head) < 26:
        return
    depth, mode = int.from_bytes(head[22:24], "big"), int.from_bytes(head[24:26], "big")
    if depth not in (1, 8) or mode not in _PSD_READ:
        raise Unsupported(
            f"{name} is a Photoshop document of {depth} bits in {_PSD_MODES.get(mode, f'mode {mode}')}, of which only 8 bits in grey, RGB and CMYK "
            "are read; save it as a TIFF first."
        )


_BMP_V5 = 124
"""Length of the header that can hold a profile (BITMAPV5HEADER)."""


def _windows(stream: BinaryIO, metadata: Metadata) -> Metadata:
    """Add the colour profile of a BMP, which Pillow does not read, or a note on a space that is stated otherwise."""
    stream.seek(0)
    head = stream.read(14 + _BMP_V5)
    length = int.from_bytes(head[14:18], "little")
    space = head[70:74] if length >= 108 else b"BGRs"
    if space == b"DEBM" and length >= _BMP_V5:
        stream.seek(14 + int.from_bytes(head[126:130], "little"))
        icc = stream.read(min(int.from_bytes(head[130:134], "little"), _MOST_PROFILE))
        if icc[36:40] == b"acsp":
            return replace(metadata, icc=icc)
        return replace(metadata, notes=(Loss("the BMP's colour profile is broken and was left out"),))
    if space == b"KNIL":
        said = "the BMP's colour profile lies in another file"
    elif space == bytes(4) and head[74:110].strip(b"\0"):
        said = "the BMP states primaries and gamma of its own"
    else:
        return metadata
    return replace(metadata, notes=(Loss(f"{said}; its colours were taken for sRGB"),))


def _described(
    image: Image.Image, name: str, form: Format, pixels: bool, metadata: Metadata, notes: list[str]
) -> Foreign:
    transparent = "transparency" in image.info
    wanted = "RGBA" if transparent and image.mode in ("P", "RGB") else _WANTED.get(image.mode)
    if wanted is None:
        raise Unsupported(f"{name} is a {form.upper()} file in mode {image.mode}; convert it to RGB first.")
    samples = None
    if pixels:
        samples = np.asarray(image.convert(wanted))
        samples = samples[..., None] if samples.ndim == 2 else samples
    mode: Literal["grey", "rgb", "cmyk"] = "cmyk" if wanted == "CMYK" else "grey" if wanted in ("L", "LA") else "rgb"
    return Foreign(
        width=image.width,
        height=image.height,
        mode=mode,
        alpha=wanted in ("LA", "RGBA"),
        depth=1 if image.mode == "1" else 8,
        lossless=True,
        palette=image.mode in ("P", "PA"),
        metadata=metadata,
        notes=tuple(notes),
        samples=samples,
    )


def _plain(image: Image.Image) -> Metadata:
    dpi = image.info.get("dpi")
    density = None
    if dpi and dpi[0] > 0 and dpi[1] > 0:
        x, y = (Fraction(float(v)).limit_denominator(10_000) for v in dpi)
        density = Density(x, y, "inch")
    return Metadata(density=density)


def _photoshop(image: Any, name: str) -> tuple[Metadata, list[str]]:
    """Metadata from the document's image resources; raises Unsupported where it holds no flattened picture."""
    found = {code: data for code, _, data in image.resources}
    merged = found.get(_MERGED, b"")
    if len(merged) > 4 and not merged[4]:
        raise Unsupported(
            f"{name} was saved without its flattened picture; save it with maximised compatibility, or as TIFF."
        )
    block = b"".join(
        b"8BIM" + code.to_bytes(2, "big") + b"\0\0" + len(data).to_bytes(4, "big") + data + b"\0" * (len(data) % 2)
        for code, data in found.items()
        if code not in (_ICC, _EXIF, _XMP)
    )
    iptc, rest, notes = split_photoshop(block)
    density = None
    resolution = found.get(_RESOLUTION, b"")
    if len(resolution) >= 16:
        x, y = int.from_bytes(resolution[:4], "big"), int.from_bytes(resolution[8:12], "big")
        density = Density(Fraction(x, 65536), Fraction(y, 65536), "inch") if x and y else None
    notes.append(Loss("the flattened picture of the Photoshop document was restored; its layers were left out"))
    exif = found.get(_EXIF)
    metadata = Metadata(icc=found.get(_ICC), exif=exif, xmp=found.get(_XMP), iptc=iptc, photoshop=rest, density=density)
    return metadata, notes
