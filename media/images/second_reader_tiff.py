"""The second opinion on TIFF pages: strip by strip through tifffile and imagecodecs."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from tifffile import PHOTOMETRIC

from media.images.block_means import BlockMeans
from media.images.foreign.picture import BROKEN_TAGS
from media.images.header import Page
from media.images.second_opinion import Opinion, Undecodable, first_line

LARGEST_STRIP = 256 << 20
"""Bytes of one decoded strip or tile that are held at once."""
_DEFLATE = (8, 32946)
_JPEG_IN_TIFF = frozenset({6, 7, 34892, 33007, 34712, 50001, 50002, 52546, 34887})


def read_tiff(file: Path, page: Page) -> Opinion:
    """Block means of a TIFF page, one strip or tile in memory at a time."""
    name = "tifffile"
    try:
        with tifffile.TiffFile(file, is_ome=False, is_shaped=False) as found:
            series = found.pages[page.index]
            assert isinstance(series, tifffile.TiffPage)
            return _segments(found, series, page, name)
    except (tifffile.TiffFileError, *BROKEN_TAGS) as error:
        raise Undecodable(f"tifffile does not open it ({first_line(error)})") from error


def _segments(found: tifffile.TiffFile, page: tifffile.TiffPage, asked: Page, name: str) -> Opinion:
    width, height = page.imagewidth, page.imagelength
    channels = 3 if page.photometric == PHOTOMETRIC.PALETTE else page.samplesperpixel
    if (
        page.samplesperpixel > 5
        or page.dtype is None
        or page.imagedepth != 1
        or (asked.picture.mode == "cmyk" and page.compression in _JPEG_IN_TIFF)
    ):
        raise Undecodable("tifffile reads its samples otherwise than libvips")
    strip = int(np.prod(page.chunks)) * page.dtype.itemsize
    if strip > LARGEST_STRIP:
        raise Undecodable(f"one strip of it holds {strip} bytes")
    top = _top(page)
    blocks = BlockMeans(width, height, channels, top)
    handle = found.filehandle
    complaint, broken = "", 0
    for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=False)):
        if not count:
            broken += 1
            complaint = complaint or f"strip or tile {index} is missing"
            continue
        handle.seek(offset)
        try:
            data = handle.read(count)
            if len(data) < count:
                raise ValueError(f"{len(data)} of {count} bytes are there")
            samples, place, _ = _decoded(page, data, index)
        except NotImplementedError as error:
            raise Undecodable(f"tifffile does not decode it ({first_line(error)})") from error
        except (ValueError, RuntimeError, OSError, IndexError) as error:
            broken += 1
            complaint = complaint or f"strip or tile {index} cannot be decoded ({first_line(error)})"
            continue
        if samples is None:
            broken += 1
            continue
        blocks.add(place[2], place[3], _expanded(samples[0], page), place[0])
    if broken == len(page.dataoffsets) and complaint and not _plain_truncation(complaint):
        raise Undecodable(f"tifffile decodes none of it ({complaint})")
    means = blocks.means()
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        means[..., 0] = 255 - means[..., 0]
    return Opinion(
        name, means, blocks.rows, f"tifffile: {complaint}" if complaint else "", lossy=page.compression in _JPEG_IN_TIFF
    )


def _decoded(page: tifffile.TiffPage, data: bytes, index: int) -> Any:
    """Return what tifffile makes of a strip; one that it refuses is tried again without what lies beyond its own rows."""
    try:
        return page.decode(data, index, jpegtables=page.jpegtables)
    except RuntimeError:
        own = _trimmed(data, page, index)
        if own is data:
            raise
        return page.decode(own, index, jpegtables=page.jpegtables)


def _trimmed(data: bytes, page: tifffile.TiffPage, index: int) -> bytes:
    """Return a deflated strip without the rows that it holds beyond its own, which tifffile refuses and other readers ignore.

    Only a strip whose checksum at its end is right: a damaged one, too, may inflate to more than its rows.
    """
    if page.compression not in _DEFLATE or page.dtype is None:
        return data
    rows = page.chunks[0]
    if not page.is_tiled:  # the last strip of a plane has the rows that are left
        rows = min(rows, page.imagelength - index % -(-page.imagelength // rows) * rows)
    most = rows * int(np.prod(page.chunks[1:])) * page.dtype.itemsize
    machine = zlib.decompressobj()
    try:
        whole, beyond = machine.decompress(data, most + 1), 0
        while not machine.eof:
            piece = machine.decompress(machine.unconsumed_tail, 1 << 20)
            beyond += len(piece)
            if not piece or beyond > LARGEST_STRIP:
                return data
    except zlib.error:
        return data  # tifffile says what is wrong with it
    return zlib.compress(whole[:most], 1) if len(whole) > most else data


def _plain_truncation(complaint: str) -> bool:
    return "bytes are there" in complaint or "is missing" in complaint


def _top(page: tifffile.TiffPage) -> float:
    if page.photometric == PHOTOMETRIC.PALETTE:
        return 255.0
    if page.dtype is not None and page.dtype.kind == "f":
        return 1.0
    return float((1 << page.bitspersample) - 1)


def _expanded(samples: np.ndarray[Any, Any], page: tifffile.TiffPage) -> np.ndarray[Any, Any]:
    """Return a decoded strip, h x w x samples, with its palette applied."""
    if page.photometric == PHOTOMETRIC.PALETTE and page.colormap is not None:
        colours: np.ndarray[Any, Any] = (page.colormap >> 8).astype(np.uint8).T[samples[..., 0]]
        return colours
    return samples.view(np.uint8) if samples.dtype == bool else samples
