"""What a still image is, read from its header alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, Literal

import pyvips
from msgspec import Struct

from contract.errors import BadInput, Unsupported
from contract.images import vips
from contract.images.sniff import HEAD, Format, refused, sniff
from contract.job import Natural, Positive

MAX_PIXELS = 1 << 32
"""65,536 x 65,536: past it a header is taken for a trap rather than for a scan."""
MAX_PROFILE = 16 << 20
"""Bytes of an ICC profile; the largest press profiles in circulation have 3 MB."""


class Picture(Struct, frozen=True, forbid_unknown_fields=True):
    """The header of a still image. `width` and `height` are upright: after the EXIF orientation was applied.

    `depth` is bits a sample as stored (1, 2, 4, 8, 10, 12, 16, 32); `floating` marks IEEE samples. `dpi` is
    (horizontal, vertical) as stated, upright. `pages` counts the pages of a TIFF.
    """

    format: Format
    width: Positive
    height: Positive
    mode: Literal["grey", "rgb", "cmyk"]
    alpha: bool
    depth: Positive
    floating: bool = False
    palette: bool = False
    lossless: bool = True
    pages: Positive = 1
    orientation: Natural = 1
    profile: bool = False

    @property
    def deep(self) -> bool:
        """True when samples carry more than 8 bits."""
        return self.depth > 8


def read_picture(file: Path | BinaryIO, name: str) -> Picture:
    """Read the header of `file`, called `name` in messages; no pixel is decoded.

    Raises BadInput when it is not an image or is broken, Unsupported when restoring it would lose something.
    """
    head = _head(file)
    form = sniff(head)
    if form is None:
        other = refused(head)
        if other:
            raise Unsupported(
                f"{name} is a {other} file, which Respool does not restore; convert it to TIFF or PNG first."
            )
        if not head:
            raise BadInput(f"{name} is empty; copy it again from where it came.")
        raise BadInput(f"{name} is not an image that Respool knows (JPEG, PNG, TIFF, WebP, AVIF); leave it out.")
    return describe(vips.load(file, form, name), form, name, file)


def describe(image: pyvips.Image, form: Format, name: str, file: Path | BinaryIO) -> Picture:
    """The Picture of an opened libvips image; raises as `read_picture`."""
    if image.width * image.height > MAX_PIXELS:
        raise Unsupported(
            f"{name} says it is {image.width} x {image.height} pixels, more than the {MAX_PIXELS} Respool takes; cut it first."
        )
    if image.format not in ("uchar", "ushort", "float", "double"):
        raise Unsupported(f"{name} has samples of type {image.format}; convert it to 8 or 16 bit unsigned, or float.")
    if image.interpretation not in ("b-w", "grey16", "srgb", "rgb", "rgb16", "scrgb", "cmyk", "multiband"):
        raise Unsupported(f"{name} is in colour space {image.interpretation}; convert it to RGB first.")
    colours = 4 if image.interpretation == "cmyk" else 3 if image.bands >= 3 else 1
    if image.bands - colours not in (0, 1) or (colours == 3 and image.interpretation in ("b-w", "grey16")):
        raise Unsupported(
            f"{name} has {image.bands} bands of {image.interpretation}; expected grey, RGB or CMYK with alpha at most."
        )
    pages = _get(image, "n-pages", 1)
    if pages > 1 and form != "tiff":
        raise Unsupported(f"{name} holds {pages} images (an animation or a burst); extract the one to restore first.")
    if pages > 1:
        raise Unsupported(f"{name} has {pages} pages; split it into files of one page first.")
    if form == "png" and _animated(file):
        raise Unsupported(f"{name} is an animated PNG; extract the picture to restore first.")
    if image.get_typeof("icc-profile-data") and len(image.get("icc-profile-data")) > MAX_PROFILE:
        raise BadInput(f"{name} carries an ICC profile of more than {MAX_PROFILE} bytes; strip it first.")
    floating = image.format in ("float", "double")
    stored = {"uchar": 8, "ushort": 16, "float": 32, "double": 64}[image.format]
    orientation = _get(image, "orientation", 1)
    turned = orientation in (5, 6, 7, 8)
    return Picture(
        format=form,
        width=image.height if turned else image.width,
        height=image.width if turned else image.height,
        mode="cmyk" if colours == 4 else "rgb" if colours == 3 else "grey",
        alpha=image.bands > colours,
        depth=stored if floating else _get(image, "bits-per-sample", stored),
        floating=floating,
        palette=bool(_get(image, "palette", 0)),
        lossless=_lossless(form, file),
        pages=pages,
        orientation=orientation,
        profile=bool(image.get_typeof("icc-profile-data")),
    )


def _get(image: pyvips.Image, field: str, default: int) -> int:
    return int(image.get(field)) if image.get_typeof(field) else default


def _head(file: Path | BinaryIO, size: int = HEAD) -> bytes:
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return opened.read(size)
    file.seek(0)
    head = file.read(size)
    file.seek(0)
    return head


def _lossless(form: Format, file: Path | BinaryIO) -> bool:
    """False for JPEG, AVIF and lossy WebP: their pixels were already approximated once."""
    if form == "webp":
        head = _head(file, 1 << 16)
        return b"VP8L" in head and b"VP8 " not in head
    return form in ("png", "tiff")


def _animated(file: Path | BinaryIO) -> bool:
    """True when an acTL chunk stands before the first IDAT, as the APNG specification demands."""
    head = _head(file, 1 << 20)
    at = 8
    while at + 8 <= len(head):
        kind = head[at + 4 : at + 8]
        if kind == b"acTL":
            return True
        if kind == b"IDAT":
            return False
        at += 12 + int.from_bytes(head[at : at + 4], "big")
    return False


def metadata(image: pyvips.Image) -> dict[str, tuple[int, Any]]:
    """Fields of `image` that travel to the result, as name -> (libvips type, value)."""
    kept = (
        "icc-profile-data",
        "exif-data",
        "xmp-data",
        "iptc-data",
        "photoshop-data",
        "image-description",
        "resolution-unit",
    )
    return {
        field: (image.get_typeof(field), image.get(field))
        for field in image.get_fields()
        if field in kept or field.startswith("exif-ifd")
    }
