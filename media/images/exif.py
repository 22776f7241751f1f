"""EXIF blocks: told of the new size and orientation in place, so that maker notes keep their offsets."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from fractions import Fraction

from contract.errors import BadInput
from media.images import exif_geometry, tiff
from media.images.geometry import Geometry
from media.images.tiff import Directory, Tag

_PIXELS = {0xA002: 0, 0xA003: 1}
MAKER_NOTE = 0x927C
_STRUCTURAL = frozenset(
    {*range(255, 260), 262, 263, 264, 265, 266, 273, *range(277, 282), 284, *range(288, 294), 301, 317, 320}
    | {*range(322, 326), 330, *range(332, 337), 338, 339, 340, 341, 342, 347, *range(512, 522), *range(529, 533)}
)
"""Tags that say how pixels are stored; they belong to the encoder that writes the result."""
_SCALE = (280, 281, 340, 341)
"""MinSampleValue to SMaxSampleValue: a TIFF's result keeps the scale of its samples."""
LAYERS = 37724
"""Photoshop's ImageSourceData: the document's layers, which show the picture before its enhancement."""
GEO = frozenset({33550, 33922, 34264})
"""GeoTIFF's ModelPixelScale, ModelTiepoint, ModelTransformation: where the pixels of one raster, and no other, lie on the map."""
_ELSEWHERE = frozenset({700, 33723, 34377, 34675, LAYERS}) | GEO
"""XMP, IPTC, Photoshop resources, ICC: carried on their own. What is of the old raster alone is not carried."""


def descriptive(page: Directory) -> Directory:
    """Return what a TIFF directory says about the picture, without how its pixels are stored and what travels on its own."""
    kept = {t: v for t, v in page.tags.items() if t not in _STRUCTURAL | _ELSEWHERE and t not in tiff.CHILDREN}
    kept |= {t: page.tags[t] for t in _SCALE if t in page.tags}
    for tag in (tiff.ORIENTATION, tiff.X_RESOLUTION, tiff.Y_RESOLUTION, tiff.RESOLUTION_UNIT):
        kept.pop(tag, None)
    return Directory(kept, page.children)


def updated(
    exif: bytes, size: tuple[int, int], scale: tuple[Fraction, Fraction], geometry: Geometry
) -> tuple[bytes, list[str]]:
    """Return an EXIF block for an image that is now upright and `size` (width, height), and notes.

    Resolutions are multiplied by `scale` (horizontal, vertical), and exchanged before when the image was turned by a quarter.
    Values are overwritten where they are. The thumbnail's directory is unlinked, because it shows the old picture.
    """
    data = bytearray(exif)
    notes: list[str] = []
    try:
        form, first = tiff.layout(io.BytesIO(exif), "the EXIF block")
        entries = dict(_entries(data, form, first))
        _turn(data, form, entries, scale, geometry.turned)
        if tiff.EXIF_IFD in entries:
            (inner,) = struct.unpack_from(form.order + "I", data, entries[tiff.EXIF_IFD] + 8)
            for tag, at in _entries(data, form, inner):
                if tag in _PIXELS:
                    struct.pack_into(form.order + "HHII", data, at, tag, 4, 1, size[_PIXELS[tag]])
            notes = _move(data, form, inner, geometry)
        (count,) = struct.unpack_from(form.order + "H", data, first)
        end = first + 2 + 12 * count
        (thumbnail,) = struct.unpack_from(form.order + "I", data, end)
        struct.pack_into(form.order + "I", data, end, 0)
    except (BadInput, struct.error):
        return exif, ["the EXIF block is broken; it was carried as it is"]
    return bytes(data), notes + (["the EXIF thumbnail was left out: it shows the picture before"] if thumbnail else [])


def _move(data: bytearray, form: tiff.Layout, inner: int, geometry: Geometry) -> list[str]:
    """Bring the EXIF directory's tags about pixels to the result, in place; one that cannot be is taken out of the directory."""
    known = tiff.read_directory(io.BytesIO(bytes(data)), form, inner, "the EXIF block").tags
    about = (*exif_geometry.SUBJECTS, exif_geometry.FOCAL_X, exif_geometry.FOCAL_Y)
    values = {tag: found for tag in about if tag in known and (found := exif_geometry.numbers(known[tag]))}
    made, notes = exif_geometry.moved(values, geometry)
    for tag in about:
        at = dict(_entries(data, form, inner)).get(tag)
        if at is None:
            continue
        if tag not in made:
            if tag not in values:
                notes.append(exif_geometry.UNUSUAL)
            _remove(data, form, inner, at)
            continue
        tag_now = exif_geometry.written(made[tag])
        if tag_now.kind != known[tag].kind or tag_now.count != known[tag].count:
            _remove(data, form, inner, at)
            notes.append(exif_geometry.UNUSUAL)
            continue
        code = form.order + {3: "H", 5: "I"}[tag_now.kind] * (len(tag_now.data) // {3: 2, 5: 4}[tag_now.kind])
        place = at + 8 if len(tag_now.data) <= 4 else struct.unpack_from(form.order + "I", data, at + 8)[0]
        struct.pack_into(code, data, place, *struct.unpack("<" + code[1:], tag_now.data))
    return notes


def _remove(data: bytearray, form: tiff.Layout, directory: int, at: int) -> None:
    """Take one entry out of a directory; the ones behind it and the link to the next directory move up."""
    (count,) = struct.unpack_from(form.order + "H", data, directory)
    end = directory + 2 + 12 * count + 4
    data[at : end - 12] = data[at + 12 : end]
    data[end - 12 : end] = bytes(12)
    struct.pack_into(form.order + "H", data, directory, count - 1)


def _entries(data: bytearray, form: tiff.Layout, offset: int) -> Iterator[tuple[int, int]]:
    """(tag, where its entry is) of one directory."""
    (count,) = struct.unpack_from(form.order + "H", data, offset)
    for at in range(offset + 2, offset + 2 + 12 * count, 12):
        yield struct.unpack_from(form.order + "H", data, at)[0], at


def _turn(
    data: bytearray, form: tiff.Layout, entries: dict[int, int], scale: tuple[Fraction, Fraction], turned: bool
) -> None:
    """Orientation to upright, resolutions to the new ones."""
    order = form.order
    if tiff.ORIENTATION in entries:
        struct.pack_into(order + "HIHH", data, entries[tiff.ORIENTATION] + 2, 3, 1, 1, 0)
    places: list[int] = []
    for tag in (tiff.X_RESOLUTION, tiff.Y_RESOLUTION):
        if tag not in entries or struct.unpack_from(order + "HI", data, entries[tag] + 2) != (5, 1):
            return
        places += struct.unpack_from(order + "I", data, entries[tag] + 8)
    pairs = [struct.unpack_from(order + "II", data, place) for place in places]
    if any(not bottom for _, bottom in pairs):
        return
    values = [Fraction(*pair) for pair in pairs]
    for place, value, factor in zip(places, reversed(values) if turned else values, scale, strict=True):
        new = value * factor
        new = new.limit_denominator(max(1, int((1 << 31) / max(Fraction(1), new))))
        struct.pack_into(order + "II", data, place, new.numerator, new.denominator)


def resized(page: Directory, size: tuple[int, int]) -> Directory:
    """Return a directory whose EXIF child names the new size, where it named one."""
    exif = page.children.get(tiff.EXIF_IFD)
    if exif is None:
        return page
    tags = {t: tiff.long(size[_PIXELS[t]]) if t in _PIXELS else v for t, v in exif.tags.items()}
    return Directory(page.tags, {**page.children, tiff.EXIF_IFD: Directory(tags, exif.children)})


def moved_page(page: Directory, geometry: Geometry) -> tuple[Directory, list[str]]:
    """Return a directory whose EXIF child's tags about pixels are brought to the result, and notes."""
    exif = page.children.get(tiff.EXIF_IFD)
    if exif is None:
        return page, []
    child, notes = exif_geometry.moved_directory(exif, geometry)
    return Directory(page.tags, {**page.children, tiff.EXIF_IFD: child}), notes


def from_page(page: Directory, size: tuple[int, int], resolution: dict[int, Tag]) -> bytes | None:
    """Return an EXIF block with what a TIFF directory says and the tags `resolution`, or None when that is nothing."""
    said = resized(descriptive(page), size)
    tags = {t: v for t, v in said.tags.items() if t not in (tiff.SUBFILE, *_SCALE) and v.kind <= 13} | resolution
    if not tags and not said.children:
        return None
    return tiff.block(Directory(tags, said.children))
