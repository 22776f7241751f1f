"""Photoshop image resources that are about pixels: resolution, guides and paths, turned and scaled; slices and copies are left out.

Adobe Photoshop File Formats Specification, "Image Resource IDs", "Grid and guides resource format", "Path resource format".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from contract.severity import Loss
from media.images.geometry import Geometry

RESOLUTION, GUIDES, SLICES, CLIPPING = 0x03ED, 0x0408, 0x041A, 0x0BB7
_PATHS = range(0x07D0, 0x0BB7)
_COPIES = {0x0422: "EXIF", 0x0423: "EXIF", 0x0424: "XMP"}
_KNOTS = (1, 2, 4, 5)


def resources(block: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Return (number, name as stored, data) of each resource; ends quietly where the structure does."""
    at = 0
    while at + 12 <= len(block) and block[at : at + 4] == b"8BIM":
        number = int.from_bytes(block[at + 4 : at + 6], "big")
        named = at + 6 + (block[at + 6] + 2) // 2 * 2
        size = int.from_bytes(block[named : named + 4], "big")
        yield number, block[at + 6 : named], block[named + 4 : named + 4 + size]
        at = named + 4 + size + size % 2


def moved(block: bytes, geometry: Geometry) -> tuple[bytes | None, list[str]]:
    """`block` with everything about pixels brought to the result, and notes on what was left out."""
    kept = b""
    notes: list[str] = []
    for number, called, data in resources(block):
        try:
            if number == RESOLUTION:
                data = _resolution(data, geometry)
            elif number == GUIDES:
                data = _guides(data, geometry)
            elif number in _PATHS:
                data = _path(data, geometry)
            elif number == SLICES:
                notes.append(Loss("Photoshop's slices were left out: they are of the pixels before"))
                continue
            elif number in _COPIES:
                notes.append(Loss(f"a copy of the {_COPIES[number]} block among Photoshop's resources was left out"))
                continue
        except struct.error:
            notes.append(Loss(f"Photoshop's resource {number} is broken and was left out"))
            continue
        kept += (
            b"8BIM" + number.to_bytes(2, "big") + called + len(data).to_bytes(4, "big") + data + b"\0" * (len(data) % 2)
        )
    return kept or None, notes


def _resolution(data: bytes, geometry: Geometry) -> bytes:
    """Pixels per inch as 16.16 fixed point, whatever unit is shown."""
    across, unit_x, width_unit, down, unit_y, height_unit = struct.unpack(">IHHIHH", data[:16])
    if geometry.turned:
        across, down, unit_x, unit_y = down, across, unit_y, unit_x
        width_unit, height_unit = height_unit, width_unit
    x, y = geometry.scale()
    values = (min(0xFFFFFFFF, round(across * x)), min(0xFFFFFFFF, round(down * y)))
    return struct.pack(">IHHIHH", values[0], unit_x, width_unit, values[1], unit_y, height_unit) + data[16:]


def _guides(data: bytes, geometry: Geometry) -> bytes:
    """Guides lie at a 32nd of a pixel, across (0) or along (1) the picture."""
    head, (count,) = data[:12], struct.unpack(">I", data[12:16])
    made = b""
    for n in range(count):
        place, along = struct.unpack(">IB", data[16 + 5 * n : 21 + 5 * n])
        x, y = geometry.point(0 if along else place / 32, place / 32 if along else 0)
        now = bool(along) != geometry.turned
        made += struct.pack(">IB", min(0xFFFFFFFF, round((y if now else x) * 32)), now)
    return head + data[12:16] + made + data[16 + 5 * count :]


def _path(data: bytes, geometry: Geometry) -> bytes:
    """Move the knots of a path: records of 26 bytes, whose knots hold three points (y, x) as shares in 8.24 fixed point. Shares do not change with the size."""
    made = b""
    for at in range(0, len(data) - 25, 26):
        record = data[at : at + 26]
        if int.from_bytes(record[:2], "big") in _KNOTS:
            numbers = struct.unpack(">6i", record[2:])
            points = [geometry.share(numbers[n + 1] / (1 << 24), numbers[n] / (1 << 24)) for n in (0, 2, 4)]
            packed = [round(value * (1 << 24)) for x, y in points for value in (y, x)]
            record = record[:2] + struct.pack(">6i", *packed)
        made += record
    return made
