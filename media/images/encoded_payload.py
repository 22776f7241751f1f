"""The encoded picture of a file without anything that was said about it: what metadata may change around, and must not change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from contract.errors import BadInput
from media.images import metadata_jpeg, metadata_webp, tiff
from media.images.sniff import HEAD, sniff

_STEP = 1 << 20


def content_sha256(paths: Sequence[Path]) -> str:
    """SHA-256 of the picture data of JPEG, PNG, TIFF or WebP files one after the other; empty for other formats.

    JPEG: everything but APPn and COM segments. PNG: IHDR and IDAT. TIFF: the strips or tiles of every page, in order.
    WebP: the bitstream and alpha chunks. Raises BadInput for a file that ends too early.
    """
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            parts = _PARTS.get(sniff(file.read(HEAD)) or "")
            if parts is None:
                return ""
            for start, size in parts(file, path.name):
                _add(digest, file, start, size, path.name)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, file: BinaryIO, start: int, size: int, name: str) -> None:
    file.seek(start)
    while size:
        block = file.read(min(size, _STEP))
        if not block:
            raise BadInput(f"{name} ends in the middle of its picture; copy it again.")
        digest.update(block)
        size -= len(block)


def _jpeg(file: BinaryIO, name: str) -> Iterator[tuple[int, int]]:
    del name
    at = 2
    for marker, data in metadata_jpeg.segments(file):
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            yield at, 4 + len(data)
        at += 4 + len(data)
        file.seek(at)
    yield at, file.seek(0, 2) - at


def _png(file: BinaryIO, name: str) -> Iterator[tuple[int, int]]:
    del name
    at = 8
    while True:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        size = int.from_bytes(head[:4], "big")
        if head[4:] in (b"IHDR", b"IDAT"):
            yield at + 8, size
        at += 12 + size


def _tiff(file: BinaryIO, name: str) -> Iterator[tuple[int, int]]:
    for page in list(tiff.directories(file, name)):
        for offsets, counts in ((tiff.STRIP_OFFSETS, 279), (tiff.TILE_OFFSETS, 325)):
            if offsets in page.tags and counts in page.tags:
                yield from zip(page.tags[offsets].numbers(), page.tags[counts].numbers(), strict=False)


def _webp(file: BinaryIO, name: str) -> Iterator[tuple[int, int]]:
    del name
    for kind, at, size in list(metadata_webp.chunks(file)):
        if kind in (b"VP8 ", b"VP8L", b"ALPH"):
            yield at, size


_PARTS: dict[str, Callable[[BinaryIO, str], Iterator[tuple[int, int]]]] = {
    "jpeg": _jpeg,
    "png": _png,
    "tiff": _tiff,
    "webp": _webp,
}
