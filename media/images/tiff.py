"""The bones of a TIFF: directories and their tags, read with bounds and written to the end of a file.

libvips decodes and encodes the pixels; everything else that a TIFF says about itself travels through here. The same
structure, in memory, is an EXIF block. TIFF 6.0 (Adobe, 1992) sections 2 and 8, BigTIFF by the LibTIFF
project, Exif 2.32 section 4.5.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from contract.errors import BadInput
from contract.severity import Loss

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of one value of each TIFF type."""
_SWAP = {5: 4, 10: 4}
"""Rationals are two numbers: swapped by halves."""
MAX_TAGS = 4096
MAX_PAGES = 10_000
MAX_VALUE = 64 << 20
"""Bytes of one descriptive tag; strip tables of huge scans stay below it."""

SUBFILE, WIDTH, HEIGHT, ORIENTATION, X_RESOLUTION, Y_RESOLUTION = 254, 256, 257, 274, 282, 283
RESOLUTION_UNIT, EXIF_IFD, GPS_IFD, INTEROP_IFD, SUB_IFDS = 296, 34665, 34853, 40965, 330
STRIP_OFFSETS, TILE_OFFSETS = 273, 324
CHILDREN = (EXIF_IFD, GPS_IFD, INTEROP_IFD)
_CHILD_NAMES = {EXIF_IFD: "EXIF directory", GPS_IFD: "GPS directory", INTEROP_IFD: "interoperability directory"}


@dataclass(frozen=True)
class Tag:
    """One tag: its type number, how many values, and their bytes in little-endian order."""

    kind: int
    count: int
    data: bytes

    def numbers(self) -> tuple[int, ...]:
        """Return the values of a BYTE, SHORT, LONG, LONG8 or IFD tag; empty for other types."""
        code = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}.get(self.kind)
        return struct.unpack(f"<{self.count}{code}", self.data) if code else ()


@dataclass(frozen=True)
class Directory:
    """One IFD: tags by number, and the directories that EXIF_IFD, GPS_IFD and INTEROP_IFD point to."""

    tags: dict[int, Tag]
    children: dict[int, Directory] = field(default_factory=dict)

    def number(self, tag: int, default: int) -> int:
        """Return the first number of a tag, or `default` where it is absent."""
        found = self.tags.get(tag)
        values = found.numbers() if found else ()
        return values[0] if values else default


def short(value: int) -> Tag:
    """Make a tag with one 16-bit number."""
    return Tag(3, 1, struct.pack("<H", value))


def long(value: int) -> Tag:
    """Make a tag with one 32-bit number."""
    return Tag(4, 1, struct.pack("<I", value))


def rational(numerator: int, denominator: int) -> Tag:
    """Make a tag with one fraction."""
    return Tag(5, 1, struct.pack("<II", numerator, denominator))


@dataclass(frozen=True)
class Layout:
    """Number format of a TIFF: byte order (``<`` or ``>``), 64-bit offsets or not."""

    order: str
    big: bool

    @property
    def pointer(self) -> str:
        """Format of an offset for `struct`."""
        return self.order + ("Q" if self.big else "I")

    @property
    def entry(self) -> int:
        """Bytes of a directory entry."""
        return 20 if self.big else 12


def layout(file: BinaryIO, what: str) -> tuple[Layout, int]:
    """Byte order, offset size, and where the first directory is; raises BadInput when `what` is no TIFF."""
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order and len(head) >= 8 and head[2:4] in (b"*\0", b"\0*"):
        return Layout(order, False), int(struct.unpack(order + "I", head[4:8])[0])
    if order and len(head) == 16 and head[2:4] in (b"+\0", b"\0+"):
        return Layout(order, True), int(struct.unpack(order + "Q", head[8:16])[0])
    raise BadInput(f"{what} has no TIFF header; copy it again from where it came.")


def directories(file: BinaryIO, what: str, notes: list[str] | None = None) -> Iterator[Directory]:
    """Every directory of the main chain. Raises BadInput for a chain that loops, is too long or leaves the file.

    With `notes`, only a first directory that cannot be read raises: what else is broken (a later page, a tag, a directory below)
    is left out, and a sentence about it is appended.
    """
    form, offset = layout(file, what)
    seen: set[int] = set()
    while offset:
        if offset in seen or len(seen) >= MAX_PAGES:
            broken = BadInput(
                f"{what} has a chain of directories that does not end; check it with the program that wrote it."
            )
            if notes is None or not seen:
                raise broken
            notes.append(f"the TIFF's chain of pages does not end; the {len(seen)} pages up to there were read")
            return
        try:
            tags, following = _read_tags(file, form, offset, what, notes)
        except BadInput:
            if notes is None or not seen:
                raise
            pages = "page was" if len(seen) == 1 else f"{len(seen)} pages were"
            notes.append(f"the TIFF points to a further page that cannot be read; the first {pages} read")
            return
        seen.add(offset)
        yield Directory(tags, dict(_children(file, form, tags, what, notes)))
        offset = following


def read_directory(file: BinaryIO, form: Layout, offset: int, what: str) -> Directory:
    """Return the directory at `offset` without its children and without values that cannot be read; raises BadInput when it is broken."""
    return Directory(_read_tags(file, form, offset, what, [])[0])


def parse(block: bytes, what: str, notes: list[str] | None = None) -> Directory:
    """Return the first directory of an EXIF block, with its children; raises BadInput when it is broken. `notes` as in `directories`."""
    return next(directories(io.BytesIO(block), what, notes), Directory({}))


def _children(
    file: BinaryIO, form: Layout, tags: Mapping[int, Tag], what: str, notes: list[str] | None
) -> Iterator[tuple[int, Directory]]:
    for tag in CHILDREN:
        if tag in tags and (at := tags[tag].numbers()):
            try:
                inner, _ = _read_tags(file, form, at[0], what, notes)
            except BadInput:
                if notes is None:
                    raise
                notes.append(Loss(f"the {_CHILD_NAMES[tag]} of the picture cannot be read and was left out"))
                continue
            # One level more is all that Exif knows: interoperability below the EXIF directory.
            deeper = {}
            if tag == EXIF_IFD and INTEROP_IFD in inner and (below := inner[INTEROP_IFD].numbers()):
                try:
                    deeper[INTEROP_IFD] = Directory(_read_tags(file, form, below[0], what, notes)[0])
                except BadInput:
                    if notes is None:
                        raise
                    notes.append(Loss("the interoperability directory cannot be read and was left out"))
            yield tag, Directory(inner, deeper)


def _read_tags(
    file: BinaryIO, form: Layout, offset: int, what: str, notes: list[str] | None
) -> tuple[dict[int, Tag], int]:
    """Return the tags of the directory at `offset`, and the offset of the next one."""
    broken = BadInput(f"{what} has a broken TIFF directory at byte {offset}; check it with the program that wrote it.")
    end = file.seek(0, 2)
    file.seek(min(offset, end))  # a 64-bit offset may be more than a file's position can be
    head = file.read(8 if form.big else 2)
    if len(head) < (8 if form.big else 2):
        raise broken
    (count,) = struct.unpack(form.order + ("Q" if form.big else "H"), head)
    width = 8 if form.big else 4
    body = file.read(count * form.entry + width) if count <= MAX_TAGS else b""
    if len(body) < count * form.entry or not body:
        raise broken
    body = body.ljust(count * form.entry + width, b"\0")
    tags: dict[int, Tag] = {}
    for at in range(0, count * form.entry, form.entry):
        tag, kind = struct.unpack_from(form.order + "HH", body, at)
        (number,) = struct.unpack_from(form.pointer, body, at + 4)
        size = SIZES.get(kind, 0) * number
        if not size or size > MAX_VALUE:
            if notes is not None and (size or kind not in SIZES):
                notes.append(Loss(f"tag {tag} of the TIFF has no readable value and was left out"))
            continue  # an unknown type is no value that could be carried; readers skip it as the specification says
        data = body[at + 4 + width : at + 4 + width + size]
        if size > width:
            file.seek(min(end, struct.unpack_from(form.pointer, body, at + 4 + width)[0]))
            data = file.read(size)
            if len(data) < size:
                if notes is None:
                    raise broken
                notes.append(Loss(f"the value of tag {tag} lies outside the file and was left out"))
                continue
        tags[tag] = Tag(kind, number, _little(data, kind) if form.order == ">" else data)
    return tags, int(struct.unpack_from(form.pointer, body, count * form.entry)[0])


def _little(data: bytes, kind: int) -> bytes:
    """Big-endian values to little-endian ones."""
    width = _SWAP.get(kind, SIZES[kind])
    if width == 1:
        return data
    return b"".join(data[i : i + width][::-1] for i in range(0, len(data), width))


def append(file: BinaryIO, directory: Directory, big: bool, following: int = 0) -> int:
    """Write a little-endian directory, its values and its children to the end of `file`; returns its offset.

    `following` is the offset of the next directory, 0 for none. Raises BadInput when a classic TIFF passes 4 GB.
    """
    tags = dict(directory.tags)
    for tag, child in directory.children.items():
        at = append(file, child, big)
        tags[tag] = (
            Tag(18, 1, struct.pack("<Q", at)) if big else Tag(13 if tag != EXIF_IFD else 4, 1, struct.pack("<I", at))
        )
    width = 8 if big else 4
    entries = b""
    for tag, value in sorted(tags.items()):
        data = value.data
        if len(data) > width:
            data = struct.pack("<Q" if big else "<I", _append(file, data))
        entries += struct.pack("<HH", tag, value.kind) + struct.pack("<Q" if big else "<I", value.count)
        entries += data.ljust(width, b"\0")
    head = struct.pack("<Q" if big else "<H", len(tags))
    at = _append(file, head + entries + struct.pack("<Q" if big else "<I", following))
    if not big and file.tell() >= 1 << 32:
        raise BadInput("a TIFF grew past 4 GB without 64-bit offsets; report this size as a defect.")
    return at


def _append(file: BinaryIO, data: bytes) -> int:
    """Write `data` at the next even offset (TIFF 6.0: values begin on word boundaries); returns where."""
    at = file.seek(0, io.SEEK_END)
    if at % 2:
        file.write(b"\0")
        at += 1
    file.write(data)
    return at


def block(directory: Directory) -> bytes:
    """Return an EXIF block (little-endian TIFF in memory) that holds one directory and its children."""
    file = io.BytesIO()
    file.write(b"II*\0\0\0\0\0")
    at = append(file, directory, big=False)
    file.seek(4)
    file.write(struct.pack("<I", at))
    return file.getvalue()
