"""Odd pictures that are damaged: harmless, damaged or refused. Rows of docs/fidelity-images.md."""

from __future__ import annotations

import io
from collections.abc import Iterator

import imagecodecs
import tifffile

from benchmarks.fidelity.odd_checks import by_pillow, by_tifffile, near
from benchmarks.fidelity.odd_images import Odd, first_page, rgb, saved, tagged


def plain() -> bytes:
    """Return a baseline JPEG."""
    return saved("JPEG", quality=92)


def progressive() -> bytes:
    """Return a progressive JPEG."""
    return saved("JPEG", quality=92, progressive=True)


def png() -> bytes:
    """Return a PNG."""
    return saved("PNG")


def damage() -> Iterator[Odd]:
    """Yield damaged files: harmless, damaged, refused."""
    yield from _damaged_jpeg()
    yield from _damaged_png_and_strips()
    yield from _damaged_structure()


def _damaged_jpeg() -> Iterator[Odd]:
    """Yield damaged JPEGs."""
    yield Odd(
        "JPEG without its last two bytes",
        ".jpg",
        lambda: plain()[:-2],
        "noted",
        "every row is there",
        check=near(rgb()),
    )
    yield Odd(
        "progressive JPEG without its last two bytes",
        ".jpg",
        lambda: progressive()[:-2],
        "noted",
        "every row is there",
        check=near(rgb()),
    )
    yield Odd(
        "JPEG of which two thirds are missing", ".jpg", lambda: plain()[: len(plain()) // 3], "refused", "--salvage"
    )
    yield Odd(
        "the same, with an end marker",
        ".jpg",
        lambda: plain()[: len(plain()) // 3] + b"\xff\xd9",
        "refused",
        "--salvage",
    )
    yield Odd(
        "the same, with --salvage 10",
        ".jpg",
        lambda: plain()[: len(plain()) // 3],
        "damaged",
        "rows were decoded",
        options={"salvage": 10},
    )
    yield Odd("JPEG cut at 97%", ".jpg", lambda: plain()[: len(plain()) * 97 // 100], "damaged", "rows were decoded")
    yield Odd(
        "progressive JPEG without its last scan", ".jpg", lambda: _scans(progressive(), -1), "damaged", "scans stop"
    )
    yield Odd(
        "progressive JPEG with its first scan alone", ".jpg", lambda: _scans(progressive(), 1), "refused", "--salvage"
    )


def _damaged_png_and_strips() -> Iterator[Odd]:
    """Yield damaged PNGs and TIFF strips."""
    yield Odd(
        "PNG without an end chunk", ".png", lambda: png()[:-12], "noted", "end chunk is missing", check=by_pillow(rgb())
    )
    yield Odd(
        "PNG with a wrong checksum",
        ".png",
        lambda: _wrong_crc(png()),
        "noted",
        "own checksum holds",
        check=by_pillow(rgb()),
    )
    yield Odd("PNG cut at a half", ".png", lambda: png()[: len(png()) // 2], "refused", "--salvage")
    yield Odd("TIFF with a damaged strip", ".tif", _damaged_strip, "damaged", "rows were decoded")
    yield Odd(
        "TIFF, zstd, with a damaged strip",
        ".tif",
        lambda: _damaged_strip("zstd"),
        "damaged",
        "rows were decoded",
        options={"salvage": 50},
    )


def _damaged_structure() -> Iterator[Odd]:
    """Yield TIFFs with pointers past their end, and other formats cut."""
    yield Odd(
        "TIFF with a link to a page past its end",
        ".tif",
        lambda: _pointer("next"),
        "noted",
        "further page",
        reader="tifffile",
        check=by_tifffile(rgb()),
    )
    yield Odd(
        "TIFF with a value past its end",
        ".tif",
        lambda: _pointer("270"),
        "noted",
        "tag 270",
        reader="tifffile",
        check=by_tifffile(rgb()),
    )
    yield Odd(
        "TIFF with a thumbnail first",
        ".tif",
        _thumbnail_first,
        "noted",
        "reduced pages",
        reader="tifffile",
        check=by_tifffile(rgb()),
    )
    yield Odd(
        "TIFF with a lone page marked as reduced",
        ".tif",
        lambda: tagged(rgb(), subfiletype=1),
        "noted",
        "marked as a reduced",
        reader="tifffile",
        check=by_tifffile(rgb()),
    )
    yield Odd("WebP cut at a half", ".webp", lambda: saved("WebP")[: len(saved("WebP")) // 2], "refused", "cannot be")
    yield Odd(
        "JPEG 2000 cut at a half",
        ".jp2",
        lambda: bytes(imagecodecs.jpeg2k_encode(rgb(), reversible=True, codecformat="jp2"))[:4000],
        "refused",
        "cannot be decoded",
    )


def _scans(data: bytes, keep: int) -> bytes:
    starts = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    return data[: starts[keep]] + b"\xff\xd9"


def _wrong_crc(data: bytes) -> bytes:
    damaged = bytearray(data)
    at = damaged.index(b"IDAT")
    damaged[at + 4 + int.from_bytes(damaged[at - 4 : at], "big")] ^= 0xFF
    return bytes(damaged)


def _damaged_strip(compression: str = "zlib") -> bytes:
    data = bytearray(tagged(rgb(), rowsperstrip=8, compression=compression))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        offset = first_page(file).dataoffsets[4]
    data[offset + 4 : offset + 60] = bytes(56)
    return bytes(data)


def _pointer(which: str) -> bytes:
    data = bytearray(tagged(rgb(), description="x" * 40))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = first_page(file)
        tag, start = page.tags[270], page.offset
    place = tag.offset + 8 if which == "270" else start + 2 + 12 * int.from_bytes(data[start : start + 2], "little")
    data[place : place + 4] = (len(data) - 4 if which == "270" else len(data) + 99).to_bytes(4, "little")
    return bytes(data)


def _thumbnail_first() -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(rgb()[::4, ::4].copy(), photometric="rgb", subfiletype=1, metadata=None)
        writer.write(rgb(), photometric="rgb", metadata=None)
    return file.getvalue()
