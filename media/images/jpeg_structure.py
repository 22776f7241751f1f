"""The structure of a JPEG from its first to its last byte: scans, their coverage, the end marker, what follows it. ITU-T T.81 annexes B and G."""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""The next marker inside entropy-coded data: neither a stuffed byte, nor a restart marker, nor a fill byte."""
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_ARITHMETIC = frozenset({*range(0xC9, 0xD0)} - {0xCC})
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
SOI, EOI, SOS = 0xD8, 0xD9, 0xDA


@dataclass
class JpegStructure:
    """The frame header of a JPEG, where its picture ends, and which coefficients its scans bring.

    `end` is the offset after the end marker, None where that is missing; `size` the length of the file. `known` holds, by
    component of a progressive file, the number of its 64 coefficients that at least one scan describes.
    """

    size: int
    frame: int = 0
    precision: int = 8
    components: int = 0
    scans: int = 0
    end: int | None = None
    known: dict[int, set[int]] = field(default_factory=dict)
    refined: dict[tuple[int, int], int] = field(default_factory=dict)
    last_data: int = 0

    @property
    def progressive(self) -> bool:
        """True for a progressive JPEG."""
        return self.frame in _PROGRESSIVE

    @property
    def kind(self) -> str | None:
        """The name of a rare coding process that common decoders refuse; None for the common ones."""
        if self.frame in _LOSSLESS:
            return "lossless JPEG"
        if self.frame in _ARITHMETIC:
            return "arithmetic-coded JPEG"
        return f"{self.precision}-bit JPEG" if self.precision != 8 else None

    @property
    def coverage(self) -> float:
        """The share of the first component's coefficients that the scans bring: 1 for every sequential file."""
        if not self.progressive or not self.known:
            return 1.0
        return len(self.known[min(self.known)]) / 64

    @property
    def unfinished(self) -> bool:
        """True when the scans of a progressive file stop before all coefficients have all their bits."""
        if not self.progressive:
            return False
        every = len(self.known) >= self.components and all(len(found) == 64 for found in self.known.values())
        return not every or any(self.refined.values())


def read_structure(file: Path) -> JpegStructure:
    """Walk all markers of the JPEG `file`. Stops where the structure does; what is missing shows in the result."""
    with file.open("rb") as stream:
        return _walk(stream)


def _walk(stream: BinaryIO) -> JpegStructure:
    size = stream.seek(0, 2)
    found = JpegStructure(size)
    if size < 4:
        return found
    try:
        number = stream.fileno()
    except (OSError, AttributeError):
        stream.seek(0)
        _markers(stream.read(), size, found)
        return found
    with mmap.mmap(number, 0, access=mmap.ACCESS_READ) as data:
        _markers(data, size, found)
    return found


def _markers(data: mmap.mmap | bytes, size: int, found: JpegStructure) -> None:
    """Walk the markers of `data` and note what they say."""
    at = 2
    while at + 4 <= size:
        if data[at] != 0xFF:
            following = _MARKER.search(data, at)
            if following is None:
                break
            at = following.start()
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == EOI:
            found.end = at + 2
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        body = bytes(data[at + 4 : min(size, at + 2 + length)])
        if marker in _FRAMES and len(body) >= 6 and not found.frame:
            found.frame, found.precision, found.components = marker, body[0], body[5]
        at += 2 + max(2, length)
        if marker == SOS:
            _scan(found, body)
            following = _MARKER.search(data, at)
            found.last_data = following.start() if following else size
            at = found.last_data
    if found.end is None and size >= 2 and data[size - 2 :] == b"\xff\xd9" and found.last_data:
        found.end = size


def _scan(found: JpegStructure, header: bytes) -> None:
    """Note what one scan brings (T.81 G.1.1.1: spectral selection and successive approximation)."""
    found.scans += 1
    if not found.progressive or not header or len(header) < 4 + 2 * header[0]:
        return
    count = header[0]
    first, last, bits = header[1 + 2 * count : 4 + 2 * count]
    for n in range(count):
        component = header[1 + 2 * n]
        found.known.setdefault(component, set()).update(range(first, min(last, 63) + 1))
        for k in range(first, min(last, 63) + 1):
            found.refined[component, k] = bits & 15


def close(file: Path, out: Path) -> None:
    """Copy `file`, whose end marker is missing, to `out` with one."""
    data = file.read_bytes()
    out.write_bytes(data.rstrip(b"\xff") + b"\xff\xd9")


def trailer(stream: BinaryIO) -> tuple[int, str] | None:
    """(bytes, description) of what follows the end marker; None for nothing and for padding."""
    found = _walk(stream)
    if found.end is None or found.end >= found.size:
        return None
    stream.seek(found.end)
    head = stream.read(4096)
    stream.seek(max(found.end, found.size - 4096))
    tail = stream.read()
    if not head.strip(b"\0\xff \r\n\t") and not tail.strip(b"\0\xff \r\n\t"):
        return None
    return found.size - found.end, describe_trailer(head, tail)


def describe_trailer(head: bytes, tail: bytes) -> str:
    """Return the field's name for data after a picture, from its first and last bytes."""
    if b"MotionPhoto_Data" in head or head[4:8] == b"ftyp" or b"ftypmp4" in head or b"ftypisom" in head:
        return "a film (motion photo)"
    if tail.endswith(b"SEFT"):
        return "a Samsung trailer"
    if head.startswith(b"\xff\xd8\xff"):
        return "another JPEG picture (preview, gain map or depth map)"
    if head.startswith(b"PK\3\4"):
        return "a ZIP archive"
    return "data of a kind that Respool does not know"
