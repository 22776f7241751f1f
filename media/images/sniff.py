"""Which image format the bytes are. Names and suffixes are never believed: a source is hostile until it was read."""

from __future__ import annotations

from typing import BinaryIO, Literal

from media.images.dpx import is_dpx

Format = Literal["jpeg", "png", "tiff", "webp", "avif"]

SUFFIXES: dict[Format, str] = {"jpeg": ".jpg", "png": ".png", "tiff": ".tif", "webp": ".webp", "avif": ".avif"}
OWN_SUFFIXES: dict[Format, frozenset[str]] = {
    "jpeg": frozenset({".jpg", ".jpeg", ".jpe", ".jfif"}),
    "png": frozenset({".png"}),
    "tiff": frozenset({".tif", ".tiff", ".btf", ".tf8"}),
    "webp": frozenset({".webp"}),
    "avif": frozenset({".avif"}),
}
HEAD = 64
"""Bytes that `sniff` wants to see."""

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def sniff(head: bytes) -> Format | None:
    """The format that a file beginning with `head` is in, or None when it is no image that Respool restores."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if _brands(head) & _AVIF_BRANDS:
        return "avif"
    return None


def refused(head: bytes) -> str | None:
    """The name of a well-known image format that Respool does not restore, or None."""
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if _brands(head) & _HEIC_BRANDS and not _brands(head) & _AVIF_BRANDS:
        return "HEIC"
    if head.startswith((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")):
        return "JPEG 2000"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "JPEG XL"
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return "BMP"
    if head.startswith(b"8BPS"):
        return "Photoshop"
    if is_dpx(head):
        return "DPX"
    return None


def _brands(head: bytes) -> set[bytes]:
    """Brands of an ISO base media file: major brand, and those compatible ones that `head` still shows."""
    if head[4:8] != b"ftyp":
        return set()
    size = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12]} | {head[i : i + 4] for i in range(16, size - 3, 4)}


_MOST_BOXES = 64


def moving(file: BinaryIO) -> bool:
    """True when an AVIF holds a film beside (or instead of) its picture: a movie box among its outermost boxes."""
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        size = int.from_bytes(head[8:16] if head[:4] == b"\0\0\0\1" else head[:4], "big")
        if head[4:8] == b"moov":
            return True
        if len(head) < 8 or size < 8:
            return False
        at += size
    return False
