"""Odd pictures of metadata: regions under all orientations, what is not known, and what samples mean. Rows of docs/fidelity-images.md."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from functools import partial

import numpy as np
import tifffile
from PIL import Image

from benchmarks.fidelity.odd_checks import Check, by_tifffile, every, exiftool, near, tags
from benchmarks.fidelity.odd_images import HEIGHT, WIDTH, Odd, first_page, rgb, saved, tagged
from benchmarks.fidelity.odd_packets import packet
from benchmarks.fidelity.odd_unknown import segments

_BOX = (16, 8, 32, 24)
"""Left, top, width and height of the marked region in stored pixels."""


def _regions(orientation: int) -> bytes:
    x, y, w, h = (_BOX[0] + _BOX[2] / 2) / WIDTH, (_BOX[1] + _BOX[3] / 2) / HEIGHT, _BOX[2] / WIDTH, _BOX[3] / HEIGHT
    inner = (
        f'<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:AppliedToDimensions stDim:w="{WIDTH}" stDim:h="{HEIGHT}" stDim:unit="pixel"/>'
        f'<mwg-rs:RegionList><rdf:Bag><rdf:li rdf:parseType="Resource"><mwg-rs:Name>Anna</mwg-rs:Name><mwg-rs:Area stArea:x="{x}" stArea:y="{y}" '
        f'stArea:w="{w}" stArea:h="{h}" stArea:unit="normalized"/></rdf:li></rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>'
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8769)[0x9214] = (_BOX[0] + _BOX[2] // 2, _BOX[1] + _BOX[3] // 2, _BOX[2], _BOX[3])
    pixels = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    pixels[_BOX[1] : _BOX[1] + _BOX[3], _BOX[0] : _BOX[0] + _BOX[2]] = 255
    return saved("JPEG", Image.fromarray(pixels), quality=95, exif=exif, xmp=packet(inner))


def _on_the_pixels(data: bytes) -> str:
    """Hold exiftool's region and subject area against the white rectangle that Pillow finds."""
    with Image.open(io.BytesIO(data)) as image:
        rows, columns = np.nonzero(np.asarray(image.convert("L")) > 140)
        width, height = image.size
    found = exiftool(data)
    if not found:
        return ""
    place = (columns.min(), rows.min(), columns.max() - columns.min() + 1, rows.max() - rows.min() + 1)
    area = found["XMP-mwg-rs:RegionInfo"]["RegionList"][0]["Area"]
    box = (
        (area["X"] - area["W"] / 2) * width,
        (area["Y"] - area["H"] / 2) * height,
        area["W"] * width,
        area["H"] * height,
    )
    subject = [float(v) for v in str(found["ExifIFD:SubjectArea"]).split()]
    second = (subject[0] - subject[2] / 2, subject[1] - subject[3] / 2, subject[2], subject[3])
    off = max(max(abs(a - b) for a, b in zip(which, place, strict=True)) for which in (box, second))
    return "" if off <= 3 else f"the region is {off:.0f} pixels off"


def metadata() -> Iterator[Odd]:
    """Yield metadata about pixels, and what Respool does not know."""
    yield from _about_pixels()
    yield from _about_tiff()


def _about_pixels() -> Iterator[Odd]:
    """Yield metadata about pixels, and what follows the end of a JPEG."""
    for orientation in range(1, 9):
        yield Odd(
            f"named face region, subject area, orientation {orientation}",
            ".jpg",
            partial(_regions, orientation),
            "noted" if orientation > 1 else "exact",
            reader="exiftool, Pillow",
            check=_on_the_pixels,
        )
    thumbnail = packet("<xmp:Thumbnails><rdf:Alt><rdf:li>x</rdf:li></rdf:Alt></xmp:Thumbnails>")
    yield Odd(
        "thumbnail in XMP",
        ".jpg",
        lambda: saved("JPEG", xmp=thumbnail),
        "noted",
        "thumbnails",
        "exiftool, Pillow",
        every(near(rgb()), tags(XMP_dash_dc__Title="A title", XMP_dash_xmp=None)),
    )
    yield Odd(
        "Photoshop's resolution",
        ".jpg",
        lambda: segments((0xED, _photoshop())),
        "exact",
        "",
        "exiftool",
        _tag("Photoshop:XResolution", 300),
    )


def _about_tiff() -> Iterator[Odd]:
    """Yield private and sample tags of TIFF."""
    yield Odd(
        "TIFF: private tag",
        ".tif",
        lambda: tagged(rgb(), extratags=[(65_001, 2, 5, "mine", True)]),
        "exact",
        "",
        "tifffile",
        _tiff_tag(65_001, "mine"),
    )
    yield Odd(
        "TIFF: OME-XML",
        ".tif",
        lambda: tagged(rgb(), description='<OME><Image SizeX="112"/></OME>'),
        "noted",
        "OME-XML",
        "exiftool, tifffile",
        every(by_tifffile(rgb()), tags(IFD0__ImageDescription=None)),
    )
    yield Odd(
        "TIFF: 12 bits in 16, MaxSampleValue",
        ".tif",
        lambda: tagged(rgb()[..., 0].astype(np.uint16) * 16, extratags=[(281, 3, 1, 4095, True)]),
        "noted",
        "white was taken to be 4095",
        "tifffile",
        _tiff_tag(281, 4095),
    )


def _photoshop() -> bytes:
    block = struct.pack(">IHHIHH", 300 << 16, 1, 1, 300 << 16, 1, 1)
    return b"Photoshop 3.0\x008BIM\x03\xed\0\0" + len(block).to_bytes(4, "big") + block


def _tag(name: str, value: object) -> Check:
    def check(data: bytes) -> str:
        found = exiftool(data)
        return "" if not found or found.get(name) == value else f"{name} is {found.get(name)!r}"

    return check


def _tiff_tag(number: int, value: object) -> Check:
    def check(data: bytes) -> str:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            found = first_page(file).tags.get(number)
        return "" if found is not None and found.value == value else f"tifffile reads {found and found.value!r}"

    return check
