"""Camera raw files, which are TIFFs that open with a preview: restoring that would be silently wrong."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import BinaryIO

from contract.errors import BadInput, Unsupported
from media.images import tiff
from media.images.metadata_tiff import DNG_VERSION, RAW_SENSORS
from media.images.tiff import Directory
from media.images.tiff_samples import COMPRESSION, PHOTOMETRIC

REDUCED = 1 | 4
"""NewSubfileType bits: a smaller version of another page, a transparency mask."""
_RAW_COMPRESSIONS = frozenset({32767, 32769, 34713, 65535})
_MOST_BELOW = 8


def refuse_raw(stream: BinaryIO, chain: Sequence[Directory], head: bytes, name: str) -> None:
    """Raise Unsupported, naming `name`, for a camera raw file and for a TIFF whose only full picture lies in a directory below.

    `chain` are the directories of `stream`. A reduced page before a full one, or a lone page marked as reduced, is no raw file.
    """
    raw = head[8:10] == b"CR" or any(_is_raw(page) for page in chain)
    below = [] if raw else [page for first in chain for page in _below(stream, first, name)]
    if raw or any(_is_raw(page) for page in below):
        raise Unsupported(f"{name} is a camera raw file; develop it to a plain TIFF first.")
    full = [page for page in chain if not page.number(tiff.SUBFILE, 0) & REDUCED]
    largest = max((_pixels(page) for page in (full or chain)), default=0)
    if not full and any(_pixels(page) > largest for page in below):
        raise Unsupported(
            f"{name} opens with a preview, and its full picture lies below it; save it as a plain TIFF first."
        )


def _is_raw(page: Directory) -> bool:
    return (
        DNG_VERSION in page.tags
        or page.number(PHOTOMETRIC, 2) in RAW_SENSORS
        or page.number(COMPRESSION, 1) in _RAW_COMPRESSIONS
    )


def _pixels(page: Directory) -> int:
    return page.number(tiff.WIDTH, 0) * page.number(tiff.HEIGHT, 0)


def _below(stream: BinaryIO, page: Directory, name: str) -> list[Directory]:
    """Directories that the page's SubIFDs tag points to; those that cannot be read are passed over."""
    found = page.tags.get(tiff.SUB_IFDS)
    offsets = found.numbers() if found else ()
    form, _ = tiff.layout(stream, name)
    pages = []
    for offset in offsets[:_MOST_BELOW]:
        try:
            pages.append(tiff.read_directory(stream, form, offset, name))
        except (BadInput, struct.error):
            continue  # what cannot be read holds no picture
    return pages
