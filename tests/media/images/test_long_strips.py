"""Deflated strips with more rows than their own: a writer's habit where the checksum is right, damage where it is not."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile

from media.images.header import read_pages
from media.images.second_opinion import Undecodable
from media.images.second_reader_tiff import read_tiff

ROWS, WIDTH = 16, 32
SAMPLES = np.random.default_rng(3).integers(0, 256, (ROWS, WIDTH), dtype=np.uint8)


def picture(path: Path, strip: bytes) -> Path:
    """Write a TIFF of one deflated strip, whose bytes are `strip` whatever they hold."""
    made = io.BytesIO()
    tifffile.imwrite(made, SAMPLES, compression="zlib", rowsperstrip=ROWS, photometric="minisblack")
    made.seek(0)
    with tifffile.TiffFile(made) as found:
        page = found.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        places = page.tags["StripOffsets"].valueoffset, page.tags["StripByteCounts"].valueoffset
        codes = page.tags["StripOffsets"].dtype, page.tags["StripByteCounts"].dtype
    data = bytearray(made.getvalue())
    for place, code, value in zip(places, codes, (len(data), len(strip)), strict=True):
        size = {3: 2, 4: 4, 16: 8}[int(code)]
        data[place : place + size] = value.to_bytes(size, "little")
    path.write_bytes(bytes(data) + strip)
    return path


@pytest.mark.parametrize("more", [1, 40, 5000], ids=["one row", "many rows", "pages of rows"])
def test_sound_rows_beyond_are_ignored(more: int, tmp_path: Path) -> None:
    """Every row of the picture counts as decoded, and nothing is complained of."""
    whole = SAMPLES.tobytes() + bytes(more * WIDTH)
    file = picture(tmp_path / "long.tif", zlib.compress(whole))
    (page,), _ = read_pages(file, "long.tif")
    opinion = read_tiff(file, page)
    assert opinion.complaint == ""
    assert opinion.rows == ROWS


@pytest.mark.parametrize("spoil", [lambda s: s[:-4] + b"\0\0\0\0", lambda s: s[:-6]], ids=["checksum", "cut off"])
def test_a_damaged_strip_is_damage_however_long(spoil: object, tmp_path: Path) -> None:
    """A strip that inflates to more than its rows and has no right checksum at its end is not excused."""
    whole = zlib.compress(SAMPLES.tobytes() + bytes(5000 * WIDTH))
    file = picture(tmp_path / "torn.tif", spoil(whole))  # type: ignore[operator]
    (page,), _ = read_pages(file, "torn.tif")
    try:
        complaint = read_tiff(file, page).complaint
    except Undecodable as error:
        complaint = str(error)
    assert "cannot be decoded" in complaint or "decodes none" in complaint
