"""Metadata of TIFF pages, and pages put together into one file. TIFF 6.0; XMP part 3; ICC.1 annex B.5."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from contract.errors import IntegrityError
from contract.severity import Loss
from media.images import tiff
from media.images.exif import GEO, LAYERS, descriptive, resized
from media.images.metadata import Density, Metadata, join_photoshop, split_photoshop
from media.images.tiff import Directory, Tag

ICC, XMP, IPTC, PHOTOSHOP, DNG_VERSION, PHOTOMETRIC = 34675, 700, 33723, 34377, 50706, 262
RAW_SENSORS = (32803, 34892)
"""Photometric interpretations of camera raw data: colour filter array, linear raw."""
ROWS_PER_STRIP, STRIP_BYTES = 278, 279
BIG = 0xF000_0000
"""Bytes of pixels past which a TIFF gets 64-bit offsets: 4 GB, less room for what pages carry."""
_UNITS = {1: "none", 2: "inch", 3: "cm"}


def read(page: Directory) -> Metadata:
    """Everything that one page's directory holds beside pixels."""
    tags = page.tags
    notes: list[str] = []
    iptc, rest = None, None
    if PHOTOSHOP in tags:
        iptc, rest, notes = split_photoshop(tags[PHOTOSHOP].data)
    if IPTC in tags:
        iptc = _iptc(tags[IPTC])
    if LAYERS in tags:
        notes.append(Loss("Photoshop's layers were left out: they show the picture before"))
    if GEO & tags.keys():
        notes.append(Loss("where its pixels lie on the map (GeoTIFF) was left out: that is of the raster before"))
    if tiff.SUB_IFDS in tags:
        notes.append("smaller versions of the picture inside the TIFF were left out")
    page, said = _without_stale(page)
    notes += said
    return Metadata(
        icc=tags[ICC].data if ICC in tags else None,
        xmp=tags[XMP].data.rstrip(b"\0") if XMP in tags else None,
        iptc=iptc,
        photoshop=rest,
        density=density(page),
        page=page,
        notes=tuple(notes),
    )


_STALE = {
    343: "the clipping path (ClipPath)", 344: "the clipping path (ClipPath)", 345: "the clipping path (ClipPath)", 346: "",
    50838: "ImageJ's metadata", 50839: "ImageJ's metadata",
}  # fmt: skip
"""Tags that hold places in pixels of the picture before."""
_DESCRIPTION = 270


def _without_stale(page: Directory) -> tuple[Directory, list[str]]:
    """Return a directory without what tells of the pixels before, and notes."""
    gone = {called for tag, called in _STALE.items() if tag in page.tags and called}
    tags = {tag: value for tag, value in page.tags.items() if tag not in _STALE}
    description = tags[_DESCRIPTION].data[:4096] if _DESCRIPTION in tags else b""
    shape = False
    if b"<OME" in description:
        gone.add("the OME-XML description")
        del tags[_DESCRIPTION]
    elif description.startswith(b'{"shape"'):
        shape = True
        del tags[_DESCRIPTION]
    notes: list[str] = [Loss(f"{called} was left out: it is of the pixels before") for called in sorted(gone)]
    if shape:
        notes.append("tifffile's description of the array was left out: it is of the pixels before")
    return (Directory(tags, page.children) if len(tags) < len(page.tags) else page), notes


def density(page: Directory) -> Density | None:
    """Return the resolution that a directory states, or None; a unit that is missing is the inch (TIFF 6.0, section 3)."""
    values = []
    for tag in (tiff.X_RESOLUTION, tiff.Y_RESOLUTION):
        found = page.tags.get(tag)
        if found is None or found.kind != 5 or found.count != 1:
            return None
        top, bottom = struct.unpack("<II", found.data)
        if not top or not bottom:
            return None
        values.append(Fraction(top, bottom))
    unit = _UNITS.get(page.number(tiff.RESOLUTION_UNIT, 2), "none")
    return None if unit == "none" and values[0] == values[1] else Density(values[0], values[1], unit)


def _iptc(tag: Tag) -> bytes:
    """IIM records; some writers call them LONGs, and swapped them as such. A record begins with 0x1C."""
    data = tag.data
    if tag.kind == 4 and data[:1] != b"\x1c" and data[3:4] == b"\x1c":
        data = b"".join(data[i : i + 4][::-1] for i in range(0, len(data), 4))
    return data


def density_tags(density: Density) -> dict[int, Tag]:
    """Resolution tags, exact to 32-bit fractions."""
    unit = {v: k for k, v in _UNITS.items()}[density.unit]
    tags = {tiff.RESOLUTION_UNIT: tiff.short(unit)}
    for tag, value in ((tiff.X_RESOLUTION, density.x), (tiff.Y_RESOLUTION, density.y)):
        exact = value.limit_denominator(max(1, int((1 << 31) / max(Fraction(1), value))))
        tags[tag] = tiff.rational(exact.numerator, exact.denominator)
    return tags


def write(
    pages: Sequence[Sequence[Path]], metadata: Sequence[Metadata], sizes: Sequence[tuple[int, int]], out: Path
) -> None:
    """Put pages into `out`, each with its metadata; 64-bit offsets past 4 GB. Pixels are copied as they are encoded.

    A page is one or more bands, from the top, each a little-endian TIFF of one page in strips; all but the last end with a whole
    strip. `sizes` are (width, height) of the pages.
    """
    big = sum(path.stat().st_size for bands in pages for path in bands) > BIG
    with out.open("w+b") as target:
        target.write(b"II+\0\x08\0\0\0\0\0\0\0\0\0\0\0" if big else b"II*\0\0\0\0\0")
        link = 8 if big else 4
        for bands, carried, size in zip(pages, metadata, sizes, strict=True):
            page = _joined([_moved(path, target) for path in bands], size[1], big)
            at = tiff.append(target, _with(page, carried, size), big)
            target.seek(link)
            target.write(struct.pack("<Q" if big else "<I", at))
            form = tiff.Layout("<", big)
            target.seek(at)
            (count,) = struct.unpack("<Q" if big else "<H", target.read(8 if big else 2))
            link = at + (8 if big else 2) + count * form.entry


def _moved(band: Path, target: BinaryIO) -> tuple[Directory, int]:
    """Copy a band's file to the end of `target`; returns its directory, and what its offsets must be raised by."""
    with band.open("rb") as source:
        page = next(tiff.directories(source, "a band just written"))
        base = target.seek(0, 2)
        base += target.write(b"\0" * (-base % 16))
        source.seek(0)
        shutil.copyfileobj(source, target, 1 << 20)
    return page, base


def _joined(bands: Sequence[tuple[Directory, int]], height: int, big: bool) -> Directory:
    """One directory for bands that follow each other: the strips of all of them."""
    first = bands[0][0]
    offsets = [offset + base for page, base in bands for offset in page.tags[tiff.STRIP_OFFSETS].numbers()]
    counts = [count for page, _ in bands for count in page.tags[STRIP_BYTES].numbers()]
    rows = first.number(ROWS_PER_STRIP, height)
    if len(offsets) != -(-height // rows) or any(page.number(ROWS_PER_STRIP, 0) != rows for page, _ in bands):
        raise IntegrityError(
            f"bands of an image have {len(offsets)} strips of {rows} rows for {height} rows; retry the job."
        )
    code, kind = ("Q", 16) if big else ("I", 4)
    return Directory(
        {
            **first.tags,
            tiff.HEIGHT: tiff.long(height),
            tiff.STRIP_OFFSETS: Tag(kind, len(offsets), struct.pack(f"<{len(offsets)}{code}", *offsets)),
            STRIP_BYTES: Tag(kind, len(counts), struct.pack(f"<{len(counts)}{code}", *counts)),
        }
    )


def _with(page: Directory, metadata: Metadata, size: tuple[int, int]) -> Directory:
    """Return the encoder's directory with the source's descriptive tags and blocks; what says how pixels are stored stays the encoder's."""
    tags = {t: v for t, v in page.tags.items() if t not in (tiff.X_RESOLUTION, tiff.Y_RESOLUTION, tiff.RESOLUTION_UNIT)}
    children: dict[int, Directory] = {}
    if metadata.page is not None:
        said = resized(descriptive(metadata.page), size)
        tags = {**said.tags, **tags}
        children = said.children
    if metadata.density:
        tags |= density_tags(metadata.density)
    blocks = ((ICC, metadata.icc, 7), (XMP, metadata.xmp, 1), (IPTC, metadata.iptc, 7))
    tags |= {tag: Tag(kind, len(data), data) for tag, data, kind in blocks if data}
    photoshop = join_photoshop(None, metadata.photoshop)
    if photoshop:
        tags[PHOTOSHOP] = Tag(1, len(photoshop), photoshop)
    return Directory(tags, children)
