"""Metadata and refusals of the foreign formats: nothing that their own places hold is lost without a word."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from contract.errors import BadInput, Unsupported
from contract.severity import severity
from media.images import foreign
from media.images.header import read_pages
from media.images.sniff import Format

HEIGHT, WIDTH = 24, 32
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


def rgb() -> np.ndarray:
    """Return a picture of noise."""
    return np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def found(form: Format, data: bytes, tmp_path: Path) -> foreign.Foreign:
    """Return what the reader of a format finds in bytes."""
    path = tmp_path / "a.img"
    path.write_bytes(data)
    return foreign.header(path, form, "a.img")


def box(kind: bytes, content: bytes) -> bytes:
    """Return a box of an ISO base media file."""
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def jxl(*extra: bytes) -> bytes:
    """Return a JPEG XL container with boxes behind its codestream."""
    codestream = bytes(imagecodecs.jpegxl_encode(rgb(), lossless=True, usecontainer=False))
    head = box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    return head + box(b"jxlc", codestream) + b"".join(extra)


@pytest.mark.parametrize("packed", [False, True])
def test_boxes_of_jpeg_xl_are_read(packed: bool, tmp_path: Path) -> None:
    """XMP and EXIF boxes arrive, also packed with Brotli; a manifest and an unknown box are losses."""

    def kept(kind: bytes, content: bytes) -> bytes:
        return box(b"brob", kind + bytes(imagecodecs.brotli_encode(content))) if packed else box(kind, content)

    exif = Image.Exif()
    exif[0x010E] = "Anna"
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    made = found(
        "jxl",
        jxl(kept(b"xml ", XMP), kept(b"Exif", bytes(4) + block), box(b"jumb", b"c2pa"), box(b"mine", b"1")),
        tmp_path,
    )
    assert (made.metadata.xmp, made.metadata.exif) == (XMP, block)
    assert [severity(note) for note in made.metadata.notes] == ["loss", "loss"]
    assert "C2PA" in made.metadata.notes[0]
    assert "'mine'" in made.metadata.notes[1]


def bmp_v5(space: bytes, profile: bytes = b"") -> bytes:
    """Return a BMP with a BITMAPV5HEADER."""
    pixels = rgb()[::-1, :, ::-1].tobytes()
    at = 14 + 124
    info = struct.pack("<IiiHHIIiiII", 124, WIDTH, HEIGHT, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    info += bytes(16) + space + b"\1" * 36 + struct.pack("<4I", 0, 0, 0, 0)
    info += struct.pack("<4I", 4, 124 + len(pixels), len(profile), 0)
    info = info[:124]
    info = info[:112] + struct.pack("<3I", 124 + len(pixels), len(profile), 0)
    return b"BM" + struct.pack("<IHHI", at + len(pixels) + len(profile), 0, 0, at) + info + pixels + profile


def test_the_profile_of_a_bmp_is_carried(tmp_path: Path) -> None:
    """An embedded profile is read; a linked one, and primaries of its own, are losses; sRGB needs no word."""
    assert found("bmp", bmp_v5(b"DEBM", PROFILE), tmp_path).metadata.icc == PROFILE
    for space, said in ((b"KNIL", "in another file"), (bytes(4), "of its own"), (b"DEBM", "broken")):
        made = found("bmp", bmp_v5(space), tmp_path).metadata
        assert made.icc is None
        assert [severity(note) for note in made.notes] == ["loss"]
        assert said in made.notes[0]
    assert found("bmp", bmp_v5(b"BGRs"), tmp_path).metadata.notes == ()


def test_blocks_of_a_gif_are_carried_or_named(tmp_path: Path) -> None:
    """XMP arrives without its magic trailer, every comment arrives, and another application's data are a loss."""
    file = io.BytesIO()
    Image.fromarray(rgb()[..., 0]).save(file, "GIF")
    data = file.getvalue()
    at = 13 + 3 * (2 << (data[10] & 7))
    trailer = b"\1" + bytes(range(255, -1, -1)) + b"\0"
    comment = b"\x21\xfe\3one\0\x21\xfe\3two\0"
    other = b"\x21\xff\x0bMINE    1.0\2ab\0"
    extended = data[:at] + b"\x21\xff\x0bXMP DataXMP" + XMP + trailer + comment + other + data[at:]
    made = found("gif", extended, tmp_path).metadata
    assert (made.xmp, made.comments) == (XMP, (b"one", b"two"))
    assert [severity(note) for note in made.notes] == ["loss"]
    assert "MINE" in made.notes[0]


@pytest.mark.parametrize(
    ("depth", "mode", "said"), [(16, 3, "16 bits in RGB"), (32, 1, "32 bits in grey"), (8, 9, "CIELab")]
)
def test_photoshop_documents_that_pillow_does_not_read_are_refused_by_name(
    depth: int, mode: int, said: str, tmp_path: Path
) -> None:
    """Depth and mode are named, and no path of this machine is."""
    head = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, HEIGHT, WIDTH, depth, mode)
    with pytest.raises(Unsupported, match=said):
        found("psd", head + bytes(400), tmp_path)


def test_a_header_that_nothing_recognises_names_no_path(tmp_path: Path) -> None:
    """The sentence names the source alone."""
    with pytest.raises(BadInput) as refused:
        found("bmp", b"BM" + bytes(60), tmp_path)
    assert str(tmp_path) not in str(refused.value)


def test_offsets_beyond_any_file_are_broken_directories(tmp_path: Path) -> None:
    """64-bit offsets past what a file can have are a broken TIFF, not an error of the system."""
    file = io.BytesIO()
    tifffile.imwrite(file, rgb(), photometric="rgb", bigtiff=True, metadata=None)
    data = bytearray(file.getvalue())
    data[8:16] = (2**64 - 8).to_bytes(8, "little")
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    with pytest.raises(BadInput, match="broken TIFF directory"):
        read_pages(path, "a.tif")


def test_a_tiff_without_a_height_is_refused(tmp_path: Path) -> None:
    """A page of no rows is refused by both readers in one sentence."""
    file = io.BytesIO()
    tifffile.imwrite(file, rgb(), photometric="rgb", metadata=None)
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(data)) as opened:
        tag = opened.pages[0].tags[257]
    data[tag.offset : tag.offset + 2] = (40_000).to_bytes(2, "little")
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    with pytest.raises(BadInput, match=r"a\.tif"):
        read_pages(path, "a.tif")
