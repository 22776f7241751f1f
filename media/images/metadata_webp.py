"""Metadata of a WebP: chunks of its RIFF container (RFC 9649)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from contract.severity import Loss
from media.images.metadata import Metadata

MOST_CHUNKS = 4096
_ICC, _ALPHA, _EXIF, _XMP = 0x20, 0x10, 0x08, 0x04
MOST = 64 << 20
"""Bytes of one metadata chunk."""


def chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """(type, offset of the data, length) of each chunk. Ends quietly where the file does."""
    at = 12
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        length = int.from_bytes(head[4:], "little")
        yield head[:4], at + 8, length
        at += 8 + length + length % 2


def read(file: BinaryIO) -> Metadata:
    """Everything that the chunks hold beside pixels. WebP knows neither density nor IPTC of its own."""
    found = Metadata()
    for kind, at, length in chunks(file):
        if kind not in (b"ICCP", b"EXIF", b"XMP "):
            continue
        if length > MOST:
            found = replace(found, notes=(*found.notes, Loss(f"a metadata chunk of {length} bytes was left out")))
            continue
        file.seek(at)
        data = file.read(length)
        if kind == b"ICCP":
            found = replace(found, icc=data)
        elif kind == b"EXIF":
            found = replace(found, exif=data.removeprefix(b"Exif\0\0"))
        else:
            found = replace(found, xmp=data)
    return found


def write(plain: Path, metadata: Metadata, out: Path) -> list[str]:
    """Copy the WebP `plain`, which carries no metadata, to `out` with `metadata`; returns what could not be carried."""
    notes: list[str] = []
    if metadata.iptc or metadata.photoshop:
        notes.append(Loss("IPTC and Photoshop blocks were left out: WebP cannot hold them"))
    if metadata.density and not metadata.exif:
        notes.append(Loss("the density was left out: WebP cannot hold it outside EXIF"))
    if metadata.comments or metadata.texts:
        notes.append(Loss("comments were left out: WebP cannot hold them"))
    with plain.open("rb") as source:
        body = b""
        flags, canvas = 0, b""
        for kind, at, length in chunks(source):
            source.seek(at)
            data = source.read(length)
            if kind == b"VP8X":
                flags, canvas = data[0] & _ALPHA, data[4:10]
            elif kind in (b"VP8 ", b"VP8L", b"ALPH"):
                body += _chunk(kind, data)
                canvas = canvas or _canvas(kind, data)
                flags |= _ALPHA if kind == b"ALPH" or (kind == b"VP8L" and data[4] & 0x10) else 0
    blocks = ((b"ICCP", metadata.icc, _ICC), (b"EXIF", metadata.exif, _EXIF), (b"XMP ", metadata.xmp, _XMP))
    flags |= sum(flag for _, block, flag in blocks if block)
    parts = [_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + canvas)] if flags else []
    parts += [_chunk(b"ICCP", metadata.icc)] if metadata.icc else []
    parts += [body]
    parts += [_chunk(kind, block) for kind, block, _ in blocks[1:] if block]
    riff = b"WEBP" + b"".join(parts)
    out.write_bytes(b"RIFF" + len(riff).to_bytes(4, "little") + riff)
    return notes


def _canvas(kind: bytes, data: bytes) -> bytes:
    """Width and height less one, 24 bits each, from a bare bitstream's header (RFC 9649, 2.5 and 3.4; RFC 6386, 9.1)."""
    if kind == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        width, height = bits & 0x3FFF, bits >> 14 & 0x3FFF
    else:
        width = (int.from_bytes(data[6:8], "little") & 0x3FFF) - 1
        height = (int.from_bytes(data[8:10], "little") & 0x3FFF) - 1
    return width.to_bytes(3, "little") + height.to_bytes(3, "little")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + len(data).to_bytes(4, "little") + data + b"\0" * (len(data) % 2)
