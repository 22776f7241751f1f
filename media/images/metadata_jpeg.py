"""Metadata of a JPEG: the segments before the first scan. ITU-T T.81 annex B; JFIF 1.02; Exif 2.32; XMP part 3; ICC.1 annex B.4."""

from __future__ import annotations

import hashlib
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal

from contract.severity import Loss
from media.images import jpeg_structure
from media.images.jpeg_segments import other_segment
from media.images.metadata import CENTIMETRES_PER_INCH, Density, Metadata, join_photoshop, split_photoshop
from media.images.xmp_split import PLACEHOLDER, join, split

EXIF = b"Exif\0\0"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
EXTENDED = b"http://ns.adobe.com/xmp/extension/\0"
ICC = b"ICC_PROFILE\0"
PHOTOSHOP = b"Photoshop 3.0\0"
JFIF = b"JFIF\0"
MPF = b"MPF\0"
MOST_HEAD = 64 << 20
"""Bytes before the first scan that are read; the rest of a file that has more is not looked at for metadata."""
MOST = 65_533
"""Bytes of a segment's payload: its 16-bit length counts itself."""
_UNITS = {0: "none", 1: "inch", 2: "cm"}


def segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(marker, payload) of each segment before the first scan; stops quietly where the structure ends."""
    file.seek(2)
    while file.tell() < MOST_HEAD:
        head = file.read(2)
        while len(head) == 2 and head == b"\xff\xff":  # fill bytes
            head = head[1:] + file.read(1)
        if len(head) < 2 or head[0] != 0xFF or head[1] in (0xDA, 0xD9):
            return
        length = file.read(2)
        if len(length) < 2:
            return
        payload = file.read(max(0, int.from_bytes(length, "big") - 2))
        yield head[1], payload


def read(file: BinaryIO) -> Metadata:
    """Everything that the segments hold beside pixels."""
    found = Metadata()
    profile: dict[int, bytes] = {}
    extended: dict[bytes, dict[int, bytes]] = {}
    photoshop = b""
    notes: list[str] = []
    for marker, data in segments(file):
        if marker == 0xE0 and data.startswith(JFIF) and len(data) >= 12:
            unit, x, y = struct.unpack(">BHH", data[7:12])
            if x and y and unit in _UNITS and (unit or x != y):
                found = replace(found, density=Density(Fraction(x), Fraction(y), _UNITS[unit]))
        elif marker == 0xE1 and data.startswith(EXIF):
            found = _first(found, "exif", data[len(EXIF) :], "EXIF block")
        elif marker == 0xE1 and data.startswith(XMP):
            found = _first(found, "xmp", data[len(XMP) :], "XMP packet")
        elif marker == 0xE1 and data.startswith(EXTENDED) and len(data) > len(EXTENDED) + 40:
            at = len(EXTENDED)
            offset = int.from_bytes(data[at + 36 : at + 40], "big")
            extended.setdefault(data[at : at + 32], {})[offset] = data[at + 40 :]
        elif marker == 0xE2 and data.startswith(ICC) and len(data) > len(ICC) + 2:
            profile[data[len(ICC)]] = data[len(ICC) + 2 :]
        elif marker == 0xE2 and data.startswith(MPF):
            notes.append(Loss("further pictures in the JPEG (previews, gain maps, depth) were left out"))
        elif marker == 0xED and data.startswith(PHOTOSHOP):
            photoshop += data[len(PHOTOSHOP) :]
        elif marker == 0xFE:
            found = replace(found, comments=(*found.comments, data))
        elif 0xE0 <= marker <= 0xEF:
            found = other_segment(found, marker, data)
    iptc, rest, said = split_photoshop(photoshop)
    icc = b"".join(profile[n] for n in sorted(profile)) or None
    xmp, more = _joined(found.xmp, extended)
    notes += [*found.notes, *said, *more, *_trailer(file)]
    return replace(found, icc=icc, xmp=xmp, iptc=iptc, photoshop=rest, notes=tuple(notes))


def _first(found: Metadata, field: Literal["exif", "xmp"], block: bytes, called: str) -> Metadata:
    """Keep the first block of a kind, as most readers do; name a second one that differs."""
    kept = found.exif if field == "exif" else found.xmp
    if kept is None:
        return replace(found, exif=block) if field == "exif" else replace(found, xmp=block)
    note = Loss(f"a second {called} was left out: the first one is kept")
    return found if block == kept or note in found.notes else replace(found, notes=(*found.notes, note))


def _trailer(file: BinaryIO) -> list[str]:
    after = jpeg_structure.trailer(file)
    return [Loss(f"{after[0]} bytes after the end of the picture were left out: {after[1]}")] if after else []


def _joined(xmp: bytes | None, extended: dict[bytes, dict[int, bytes]]) -> tuple[bytes | None, list[str]]:
    """Return the packet with its extension put back into it, so that other formats can hold it whole."""
    for digest, parts in extended.items():
        whole = b"".join(parts[at] for at in sorted(parts))
        if (
            xmp is None
            or digest not in xmp
            or hashlib.md5(whole, usedforsecurity=False).hexdigest().upper().encode() != digest
        ):
            return xmp, [Loss("the extended XMP does not belong to the packet, or is broken; it was left out")]
        try:
            xmp = join(xmp, whole)
        except ValueError:
            return xmp, [Loss("the extended XMP could not be joined to its packet; it was left out")]
    return xmp, []


def write(plain: Path, metadata: Metadata, out: Path) -> list[str]:
    """Copy the JPEG `plain`, which carries no metadata, to `out` with `metadata`; returns what could not be carried."""
    notes: list[str] = []
    parts = [_segment(0xE0, JFIF + b"\x01\x02" + _density(metadata.density, notes) + b"\0\0")]
    if metadata.exif is not None:
        parts += _single(0xE1, EXIF + metadata.exif, "EXIF block", notes)
    if metadata.xmp is not None:
        parts += _xmp(metadata.xmp, notes)
    parts += _split(0xED, PHOTOSHOP, join_photoshop(metadata.iptc, metadata.photoshop) or b"")
    parts += _profile(metadata.icc or b"")
    parts += [_segment(0xFE, comment) for comment in metadata.comments]
    parts += [_segment(marker, data) for marker, data in metadata.others if isinstance(marker, int)]
    with plain.open("rb") as source, out.open("wb") as target:
        target.write(b"\xff\xd8" + b"".join(parts))
        at = 2
        for marker, data in segments(source):
            if marker not in (0xE0, 0xE1):
                break
            at += 4 + len(data)
        source.seek(at)
        shutil.copyfileobj(source, target, 1 << 20)
    return notes


def _xmp(packet: bytes, notes: list[str]) -> list[bytes]:
    """Return the packet in one segment, or with what does not fit in extended XMP (XMP part 3, 1.1.3.1)."""
    if len(XMP) + len(packet) <= MOST:
        return [_segment(0xE1, XMP + packet)]
    try:
        main, rest = split(packet, MOST - len(XMP))
    except ValueError as error:
        notes.append(
            Loss(
                f"the XMP packet ({len(packet)} bytes) was left out: JPEG holds at most {MOST} in one piece, and {error}"
            )
        )
        return []
    digest = hashlib.md5(rest, usedforsecurity=False).hexdigest().upper().encode()
    parts = [_segment(0xE1, XMP + main.replace(PLACEHOLDER, digest))]
    step = MOST - len(EXTENDED) - 40
    for at in range(0, len(rest), step):
        head = EXTENDED + digest + len(rest).to_bytes(4, "big") + at.to_bytes(4, "big")
        parts.append(_segment(0xE1, head + rest[at : at + step]))
    return parts


def _segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(data) + 2).to_bytes(2, "big") + data


def _single(marker: int, data: bytes, what: str, notes: list[str]) -> list[bytes]:
    if len(data) > MOST:
        notes.append(Loss(f"the {what} ({len(data)} bytes) was left out: JPEG holds at most {MOST} in one piece"))
        return []
    return [_segment(marker, data)]


def _split(marker: int, name: bytes, data: bytes) -> list[bytes]:
    step = MOST - len(name)
    return [_segment(marker, name + data[at : at + step]) for at in range(0, len(data), step)]


def _profile(icc: bytes) -> list[bytes]:
    step = MOST - len(ICC) - 2
    count = -(-len(icc) // step)
    return [
        _segment(0xE2, ICC + bytes((n + 1, count)) + icc[n * step : (n + 1) * step])
        for n in range(count)
        if count <= 255
    ]


def _whole(values: tuple[Fraction, ...]) -> tuple[int, int]:
    return round(values[0]), round(values[1])


def _density(density: Density | None, notes: list[str]) -> bytes:
    """JFIF's unit and two 16-bit densities. They are whole numbers; EXIF beside them keeps the exact ones."""
    if density is None:
        return struct.pack(">BHH", 0, 1, 1)
    unit = {v: k for k, v in _UNITS.items()}[density.unit]
    x, y = round(density.x), round(density.y)
    if unit:  # the unit in which whole numbers come nearer: 600 dpi is 236.22 per centimetre
        inches = density.per_inch()
        centimetres = tuple(v / CENTIMETRES_PER_INCH for v in inches)
        unit, (x, y) = min(
            ((1, _whole(inches)), (2, _whole(centimetres))),
            key=lambda way: abs(way[1][0] / (inches if way[0] == 1 else centimetres)[0] - 1),
        )
    if not (0 < x < 65536 and 0 < y < 65536):
        notes.append(Loss(f"the density of {float(density.x):.6g} per {density.unit} is beyond JFIF and was left out"))
        return struct.pack(">BHH", 0, 1, 1)
    return struct.pack(">BHH", unit, x, y)
