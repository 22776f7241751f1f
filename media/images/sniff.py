"""Image formats by their first bytes. Names and suffixes are never believed: a source is hostile until it was read."""

from __future__ import annotations

from typing import BinaryIO, Literal

from media.images.dpx import is_dpx

Format = Literal["jpeg", "png", "tiff", "webp", "avif", "jp2", "jxl", "heic", "bmp", "gif", "pnm", "psd"]
FOREIGN: frozenset[Format] = frozenset({"jp2", "jxl", "heic", "bmp", "gif", "pnm", "psd"})
"""Formats that are read and not written, by other libraries than libvips."""

SUFFIXES: dict[Format, str] = {"jpeg": ".jpg", "png": ".png", "tiff": ".tif", "webp": ".webp", "avif": ".avif"}
OWN_SUFFIXES: dict[Format, frozenset[str]] = {
    "jpeg": frozenset({".jpg", ".jpeg", ".jpe", ".jfif"}),
    "png": frozenset({".png"}),
    "tiff": frozenset({".tif", ".tiff", ".btf", ".tf8"}),
    "webp": frozenset({".webp"}),
    "avif": frozenset({".avif"}),
}
READ_SUFFIXES: frozenset[str] = frozenset(
    {
        ".jp2",
        ".j2k",
        ".jpf",
        ".jpx",
        ".j2c",
        ".jpc",
        ".jxl",
        ".heic",
        ".heif",
        ".hif",
        ".bmp",
        ".dib",
        ".gif",
        ".psd",
        ".pbm",
        ".pgm",
    }
    | {".ppm", ".pnm", ".pam"}
)
"""Suffixes of the foreign formats."""
HEAD = 64
"""Bytes that `sniff` wants to see."""

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def sniff(head: bytes) -> Format | None:
    """Return the format that a file beginning with `head` is in, or None when it is no image that Respool restores."""
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
    return _foreign(head)


def _foreign(head: bytes) -> Format | None:
    if _brands(head) & _HEIC_BRANDS:
        return "heic"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head.startswith((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")):
        return "jp2"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "jxl"
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return "bmp"
    if head.startswith(b"8BPS\0\x01"):
        return "psd"
    if head[:1] == b"P" and head[1:2] in b"1234567" and head[2:3] in (b"\n", b" ", b"\t", b"\r"):
        return "pnm"
    return None


_REFUSED: tuple[tuple[bytes, str], ...] = (
    (b"8BPS\0\x02", "large Photoshop (PSB)"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"SIMPLE  =", "FITS"),
    (b"%PDF-", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript with a preview"),
    (b"\x01\xda", "SGI"),
    (b"FORM", "Amiga IFF"),
    (b"gimp xcf", "GIMP"),
    (b"IIU\0", "Panasonic raw"),
    (b"IIRO", "Olympus raw"),
    (b"IIRS", "Olympus raw"),
    (b"FUJIFILMCCD-RAW", "Fujifilm raw"),
    (b"FOVb", "Sigma raw"),
    (b"\0MRM", "Minolta raw"),
    (b"AT&TFORM", "DjVu"),
    (b"II\xbc", "JPEG XR"),
    (b"\x97JB2", "JBIG2"),
    (b"Pf\n", "PFM"),
    (b"PF\n", "PFM"),
    (b"\x0a\x05\x01\x08", "PCX"),
    (b"\x0a\x03\x01", "PCX"),
    (b"\x0a\x02\x01", "PCX"),
    (b"qoif", "QOI"),
    (b"\x8aMNG", "MNG"),
    (b"\x8bJNG", "JNG"),
)
"""First bytes of well-known image formats that are not read."""


def refused(head: bytes) -> str | None:
    """Return the name of a well-known image format that Respool does not restore, or None."""
    if is_dpx(head):
        return "DPX"
    if head[4:12] == b"ftypcrx ":
        return "Canon raw (CR3)"
    return next((name for start, name in _REFUSED if head.startswith(start)), None)


def _brands(head: bytes) -> set[bytes]:
    """Brands of an ISO base media file: major brand, and those compatible ones that `head` still shows."""
    if head[4:8] != b"ftyp":
        return set()
    size = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12]} | {head[i : i + 4] for i in range(16, size - 3, 4)}


_MOST_BOXES = 64


def moving(file: BinaryIO) -> bool:
    """Return True when an AVIF holds a film beside (or instead of) its picture: a movie box among its outermost boxes."""
    at, end = 0, file.seek(0, 2)
    for _ in range(_MOST_BOXES):
        file.seek(min(at, end))  # a 64-bit length may be more than a file's position can be
        head = file.read(16)
        size = int.from_bytes(head[8:16] if head[:4] == b"\0\0\0\1" else head[:4], "big")
        if head[4:8] == b"moov":
            return True
        if len(head) < 8 or size < 8:
            return False
        at += size
    return False
