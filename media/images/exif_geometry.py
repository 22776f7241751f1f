"""EXIF tags that are about pixels: subject area and location, focal-plane resolution. Exif 2.32, 4.6.5."""

from __future__ import annotations

import struct
from fractions import Fraction

from contract.severity import Loss
from media.images.geometry import Geometry
from media.images.tiff import Directory, Tag, rational
from media.images.xmp_geometry import subject

SUBJECTS = {0x9214: "subject area", 0xA214: "subject location"}
FOCAL_X, FOCAL_Y = 0xA20E, 0xA20F
UNUSUAL = Loss("an EXIF tag about pixels is of an unusual type and was left out")


def moved(
    values: dict[int, tuple[Fraction, ...]], geometry: Geometry
) -> tuple[dict[int, tuple[Fraction, ...]], list[str]]:
    """Return new values of the tags in `values`, and notes; a tag that is missing from the result must be left out."""
    made: dict[int, tuple[Fraction, ...]] = {}
    notes: list[str] = []
    for tag, called in SUBJECTS.items():
        found = values.get(tag)
        if found is None:
            continue
        places = subject([float(v) for v in found], geometry) if len(found) in (2, 3, 4) else []
        if places and all(0 <= place < 65536 for place in places):
            made[tag] = tuple(Fraction(place) for place in places)
        else:
            notes.append(Loss(f"the EXIF {called} could not be brought to the new picture and was left out"))
    first, second = values.get(FOCAL_X), values.get(FOCAL_Y)
    if first and second:
        across, down = geometry.scale()
        width, height = (second[0], first[0]) if geometry.turned else (first[0], second[0])
        made[FOCAL_X] = (width * Fraction(across).limit_denominator(1000),)
        made[FOCAL_Y] = (height * Fraction(down).limit_denominator(1000),)
    elif first or second:
        notes.append(Loss("the focal plane's resolution is given for one axis alone and was left out"))
    return made, notes


def moved_directory(directory: Directory, geometry: Geometry) -> tuple[Directory, list[str]]:
    """Return an EXIF directory with its tags about pixels brought to the result, and notes."""
    values = {
        tag: found
        for tag in (*SUBJECTS, FOCAL_X, FOCAL_Y)
        if tag in directory.tags and (found := numbers(directory.tags[tag]))
    }
    made, notes = moved(values, geometry)
    if any(tag in directory.tags and tag not in values for tag in (*SUBJECTS, FOCAL_X, FOCAL_Y)):
        notes.append(UNUSUAL)
    tags = {tag: value for tag, value in directory.tags.items() if tag not in (*SUBJECTS, FOCAL_X, FOCAL_Y)}
    return Directory(tags | {tag: written(value) for tag, value in made.items()}, directory.children), notes


def numbers(tag: Tag) -> tuple[Fraction, ...]:
    """Return the values of a tag of whole numbers or rationals; empty for a rational without a denominator."""
    if tag.kind == 5:
        parts = struct.unpack(f"<{2 * tag.count}I", tag.data)
        pairs = list(zip(parts[::2], parts[1::2], strict=True))
        return tuple(Fraction(*pair) for pair in pairs) if all(bottom for _, bottom in pairs) else ()
    return tuple(Fraction(value) for value in tag.numbers())


def written(values: tuple[Fraction, ...]) -> Tag:
    """One value as a rational, several as SHORTs."""
    if len(values) > 1:
        return Tag(3, len(values), struct.pack(f"<{len(values)}H", *(int(v) for v in values)))
    exact = values[0].limit_denominator(max(1, int((1 << 31) / max(Fraction(1), values[0]))))
    return rational(exact.numerator, exact.denominator)
