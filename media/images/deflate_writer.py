"""TIFF and PNG written by ourselves, strip by strip: deflated on all cores, in memory that only the width decides.

libvips deflates on one core and maps its raw input into memory; a result of ten gigabytes wants neither.
TIFF 6.0 sections 8 and 14 (differencing), Adobe's TIFF technote 2 (deflate); PNG third edition, 9 (filters) and 10.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.parallel import in_order
from media.images import tiff
from media.images.bands import STRIP
from media.images.output_plan import Target
from media.images.tiff import Directory, Tag

Strip = npt.NDArray[Any]
"""Rows x width x samples of a result, uint8, uint16 or float32."""

LEVEL = 6
"""zlib's own default: past it, photographs get hardly smaller and twice as slow."""
BIG = 0xF000_0000
"""Bytes of pixels past which a TIFF gets 64-bit offsets: 4 GB, less what deflate may add to noise."""
_PIECE = 1 << 20
"""Bytes of a PNG deflated at once: long enough that what the next one cannot refer to, past 32 kB, does not matter."""
_THREADS = min(8, os.cpu_count() or 1)


def write_tiff(strips: Iterable[Strip], target: Target, out: Path) -> None:
    """Write `strips` (of STRIP rows, the last one of fewer) as a one-page TIFF; `target` gives its size and kind."""
    depth = 8 if target.depth <= 8 else 16 if target.depth <= 16 else 32
    samples = (1 if target.mode == "grey" else 3) + target.alpha
    big = target.width * target.height * samples * depth // 8 > BIG
    offsets: list[int] = []
    counts: list[int] = []
    with out.open("w+b") as file:
        file.write(b"II+\0\x08\0\0\0\0\0\0\0\0\0\0\0" if big else b"II*\0\0\0\0\0")
        for data in in_order(_tiff_strip, strips, _THREADS, "deflate"):
            offsets.append(file.tell())
            counts.append(file.write(data))
        code, kind = ("Q", 16) if big else ("I", 4)
        tags = {
            tiff.WIDTH: tiff.long(target.width),
            tiff.HEIGHT: tiff.long(target.height),
            258: Tag(3, samples, struct.pack(f"<{samples}H", *[depth] * samples)),
            259: tiff.short(8),  # deflate
            262: tiff.short(1 if target.mode == "grey" else 2),
            tiff.STRIP_OFFSETS: Tag(kind, len(offsets), struct.pack(f"<{len(offsets)}{code}", *offsets)),
            277: tiff.short(samples),
            278: tiff.long(STRIP),
            279: Tag(kind, len(counts), struct.pack(f"<{len(counts)}{code}", *counts)),
            284: tiff.short(1),
            317: tiff.short(1 if depth == 32 else 2),  # differencing, of whole numbers only
            339: Tag(3, samples, struct.pack(f"<{samples}H", *[3 if depth == 32 else 1] * samples)),
        }
        if target.alpha:
            tags[338] = tiff.short(2 if target.extra == "alpha" else 0)  # not premultiplied; not told
        at = tiff.append(file, Directory(tags), big)
        file.seek(8 if big else 4)
        file.write(struct.pack("<Q" if big else "<I", at))


def _tiff_strip(strip: Strip) -> bytes:
    if strip.dtype.kind == "u":
        strip = np.diff(strip, axis=1, prepend=strip.dtype.type(0))  # unsigned: it wraps, as readers expect
    return zlib.compress(strip.astype(strip.dtype.newbyteorder("<"), copy=False).tobytes(), LEVEL)


def write_png(strips: Iterable[Strip], target: Target, out: Path) -> None:
    """Write `strips` (uint8 or uint16) as a PNG; `target` gives its size and kind."""
    depth = 8 if target.depth <= 8 else 16
    colour = (0 if target.mode == "grey" else 2) + 4 * target.alpha
    with out.open("wb") as file:
        head = struct.pack(">IIBBBBB", target.width, target.height, depth, colour, 0, 0, 0)
        file.write(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head))
        sum_, first = 1, True
        for plain, data in in_order(_png_piece, _with_dictionary(_pieces(_filtered(strips))), _THREADS, "deflate"):
            sum_ = zlib.adler32(plain, sum_)
            file.write(_chunk(b"IDAT", (b"\x78\x9c" if first else b"") + data))
            first = False
        # An empty last block ends the stream, and the checksum of all rows follows it (RFC 1950, RFC 1951).
        file.write(_chunk(b"IDAT", b"\x03\x00" + sum_.to_bytes(4, "big")) + _chunk(b"IEND", b""))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def _filtered(strips: Iterable[Strip]) -> Iterator[bytes]:
    """Rows as PNG stores them: each with its filter's number, here always Paeth's, which suits photographs."""
    above: npt.NDArray[np.uint8] | None = None
    for strip in strips:
        step = strip.shape[2] * strip.itemsize
        rows = np.ascontiguousarray(strip).astype(strip.dtype.newbyteorder(">"), copy=False).view(np.uint8)
        rows = rows.reshape(len(strip), -1)
        for top in range(0, len(rows), part := max(1, _PIECE // rows.shape[1])):
            block = rows[top : top + part]
            before = np.zeros_like(block[:1]) if above is None else above
            yield _paeth(block, np.concatenate((before, block[:-1])), step)
            above = block[-1:].copy()


def _paeth(rows: npt.NDArray[np.uint8], above: npt.NDArray[np.uint8], step: int) -> bytes:
    """Each byte less the one of left, above and upper left that lies nearest to left + above - upper left."""
    pad = np.zeros((len(rows), step), np.uint8)
    left = np.concatenate((pad, rows[:, :-step]), axis=1).astype(np.int16)
    corner = np.concatenate((pad, above[:, :-step]), axis=1).astype(np.int16)
    up = above.astype(np.int16)
    to_left, to_up = np.abs(up - corner), np.abs(left - corner)
    to_corner = np.abs(left + up - 2 * corner)
    nearest = np.where((to_left <= to_up) & (to_left <= to_corner), left, np.where(to_up <= to_corner, up, corner))
    out = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
    out[:, 0] = 4
    out[:, 1:] = rows - nearest.astype(np.uint8)
    return out.tobytes()


def _pieces(data: Iterable[bytes]) -> Iterator[bytes]:
    """Return the same bytes in pieces of _PIECE."""
    held = bytearray()
    for part in data:
        held += part
        while len(held) >= _PIECE:
            yield bytes(held[:_PIECE])
            del held[:_PIECE]
    if held:
        yield bytes(held)


def _with_dictionary(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Each piece with the 32 kB before it, to which deflate may refer."""
    before = b""
    for piece in pieces:
        yield piece, before
        before = piece[-32768:]


def _png_piece(pair: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    plain, before = pair
    machine = (
        zlib.compressobj(LEVEL, zlib.DEFLATED, -15, zdict=before) if before else zlib.compressobj(LEVEL, wbits=-15)
    )
    return plain, machine.compress(plain) + machine.flush(zlib.Z_SYNC_FLUSH)
