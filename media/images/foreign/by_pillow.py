"""BMP, GIF and Photoshop documents (their flattened picture), read by Pillow's own decoders."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import Image

from contract.errors import Unsupported
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
_MERGED = 0x0421
_ICC, _EXIF, _XMP, _RESOLUTION = 0x040F, 0x0422, 0x0424, 0x03ED


def reader(form: Format) -> Callable[[BinaryIO, str, bool], Foreign]:
    """Return the reader of BMP, GIF or PSD."""

    def read(stream: BinaryIO, name: str, pixels: bool) -> Foreign:
        Image.MAX_IMAGE_PIXELS = None  # the caller checks sizes
        image = Image.open(stream, formats=[_NAMES[form]])
        if form == "gif" and getattr(image, "n_frames", 1) > 1:
            raise Unsupported(f"{name} is an animated GIF; extract the picture to restore first.")
        metadata, notes = _photoshop(image, name) if form == "psd" else (_plain(image), [])
        return _described(image, name, form, pixels, metadata, notes)

    return read


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
    comment = image.info.get("comment")
    comments = (comment,) if isinstance(comment, bytes) and comment else ()
    return Metadata(icc=image.info.get("icc_profile"), density=density, comments=comments)


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
    notes.append("the flattened picture of the Photoshop document was restored; its layers were left out")
    exif = found.get(_EXIF)
    metadata = Metadata(icc=found.get(_ICC), exif=exif, xmp=found.get(_XMP), iptc=iptc, photoshop=rest, density=density)
    return metadata, notes
