"""Blocks of a GIF beside its picture: comments and application extensions. GIF89a specification, 24 and 26; XMP part 3, 1.1.2."""

from __future__ import annotations

from collections.abc import Iterator

from contract.severity import Loss
from media.images.metadata import Metadata

_COMMENT, _APPLICATION = 0xFE, 0xFF
_TRAILER = 258
"""Bytes behind XMP, by which readers of sub-blocks find their way out of it."""
_OF_THE_PICTURE = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_MOST = 10_000
"""Blocks that are read."""


def read(data: bytes) -> Metadata:
    """Return comments, XMP and profile of a GIF, and a note on every other application's data."""
    comments: list[bytes] = []
    xmp = icc = None
    notes: list[str] = []
    for label, name, start, end in _extensions(data):
        if label == _COMMENT:
            comments.append(_joined(data, start, end))
        elif name == b"XMP DataXMP":
            xmp = data[start : max(start, end - _TRAILER + 1)]
        elif name == b"ICCRGBG1012":
            icc = _joined(data, start, end)
        elif label == _APPLICATION and name not in _OF_THE_PICTURE:
            shown = "".join(c if c.isprintable() else "?" for c in name.decode("latin-1"))
            notes.append(Loss(f"the GIF's data of the application {shown!r} were left out"))
    return Metadata(icc=icc, xmp=xmp, comments=tuple(filter(None, comments)), notes=tuple(dict.fromkeys(notes)))


def _extensions(data: bytes) -> Iterator[tuple[int, bytes, int, int]]:
    """(label, application's name, where its sub-blocks begin, where they end) of each extension; ends quietly where the structure does."""
    at = 13 + (3 * (2 << (data[10] & 7)) if len(data) > 10 and data[10] & 0x80 else 0)
    for _ in range(_MOST):
        if at + 2 > len(data) or data[at] not in (0x21, 0x2C):
            return
        if data[at] == 0x2C:  # a picture: its descriptor, its palette, its code size
            packed = data[at + 9] if at + 9 < len(data) else 0
            at = _after(data, at + 11 + (3 * (2 << (packed & 7)) if packed & 0x80 else 0))
            continue
        label, start, name = data[at + 1], at + 2, b""
        if label == _APPLICATION and start < len(data):
            name = data[start + 1 : start + 1 + data[start]]
            start += 1 + data[start]
        at = _after(data, start)
        yield label, name, start, at - 1


def _after(data: bytes, at: int) -> int:
    """Return the offset behind the sub-blocks at `at`."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return min(at, len(data) - 1) + 1


def _joined(data: bytes, at: int, end: int) -> bytes:
    parts = []
    while at < end and data[at]:
        parts.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return b"".join(parts)
