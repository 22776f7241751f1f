"""Odd pictures of kinds that other collections of pictures have: samples in planes, rare JPEGs, metadata of old formats.

Rows of docs/fidelity-images.md; each was found by restoring the test files of other libraries (`benchmarks.fidelity.folder`).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from functools import partial

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageCms

from benchmarks.fidelity.odd_checks import by_pillow, by_tifffile, every, has_profile, near, tags
from benchmarks.fidelity.odd_images import GREY, HEIGHT, WIDTH, Odd, first_page, rgb, saved, tagged
from benchmarks.fidelity.odd_packets import packet

ALPHA = np.where(np.arange(WIDTH) < WIDTH // 2, 255, 128).astype(np.uint8)[None, :, None].repeat(HEIGHT, 0)


def found() -> Iterator[Odd]:
    """Yield all rows."""
    yield from _planes()
    yield from _sound()
    yield from _rare()
    yield from _metadata()


def _planes() -> Iterator[Odd]:
    """Yield TIFFs whose samples lie in planes, or are multiplied with alpha."""
    pair = np.stack([GREY, GREY[::-1]])
    half = (rgb() / 256).astype(np.float16)
    yield Odd(
        "TIFF, grey and alpha in planes",
        ".tif",
        partial(tagged, pair, photometric="minisblack", planarconfig="separate", extrasamples=[2], rowsperstrip=9),
        "exact",
        reader="tifffile",
        check=by_tifffile(np.moveaxis(pair, 0, -1)),
    )
    yield Odd(
        "TIFF, 16-bit floats in planes",
        ".tif",
        partial(tagged, np.moveaxis(half, -1, 0).copy(), planarconfig="separate", rowsperstrip=9),
        "exact",
        reader="tifffile",
        check=by_tifffile(half.astype(np.float32)),
    )
    yield Odd(
        "TIFF, tiles in planes",
        ".tif",
        partial(tagged, np.moveaxis(rgb(), -1, 0).copy(), planarconfig="separate", tile=(32, 32)),
        "exact",
        reader="tifffile",
        check=by_tifffile(rgb()),
    )
    stored = np.concatenate([(rgb() * (ALPHA / 255)).round().astype(np.uint8), ALPHA], axis=2)
    for compression in (None, "zstd"):
        yield Odd(
            f"TIFF, colours multiplied with alpha, {compression or 'plain'}",
            ".tif",
            partial(tagged, stored, extrasamples=[1], compression=compression),
            "noted",
            "divided by it",
            "tifffile",
            _divided,
        )
    yield Odd("TIFF, a volume", ".tif", _volume, "refused", "volume of 4 planes")


def _divided(data: bytes) -> str:
    samples = tifffile.imread(io.BytesIO(data)).astype(int)
    off = int(np.abs(samples[..., :3] - rgb()).max())
    return "" if off <= 2 and (samples[..., 3:] == ALPHA).all() else f"colours are {off} levels off"


def _volume() -> bytes:
    file = io.BytesIO()
    samples = np.zeros((4, 16, 16), np.uint8)
    tifffile.imwrite(file, samples, photometric="minisblack", volumetric=True, metadata=None)
    return file.getvalue()


def _sound() -> Iterator[Odd]:
    """Yield sound pictures of which a decoder complains."""
    yield Odd(
        "TIFF, deflate, a strip with rows beyond its own",
        ".tif",
        _longer_strip,
        "exact",
        reader="tifffile, Pillow",
        check=by_pillow(rgb()),
    )
    framed = rgb().copy()
    framed[-24:] = 255
    data = saved("JPEG", Image.fromarray(framed))
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\2"
    yield Odd(
        "JPEG with an unknown Adobe transform and a white margin",
        ".jpg",
        lambda: data[:2] + adobe + data[20:],
        "noted",
        "outside its pixels",
        check=near(framed),
    )


def _longer_strip() -> bytes:
    data = bytearray(tagged(rgb(), rowsperstrip=16, compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = first_page(file)
        at, count = page.dataoffsets[-1], page.databytecounts[-1]
        places = page.tags[273].valueoffset, page.tags[279].valueoffset
        number = len(page.dataoffsets) - 1
        sizes = 4 if page.tags[279].dtype == 4 else 2
    longer = zlib.compress(zlib.decompress(bytes(data[at : at + count])) + bytes(WIDTH * 3 * 5))
    data[places[0] + 4 * number : places[0] + 4 * number + 4] = len(data).to_bytes(4, "little")
    data[places[1] + sizes * number : places[1] + sizes * (number + 1)] = len(longer).to_bytes(sizes, "little")
    return bytes(data) + longer


def _rare() -> Iterator[Odd]:
    """Yield coding processes and depths that no decoder here reads."""
    for offset, value, name in ((1, 0xC3, "lossless JPEG"), (4, 12, "12-bit JPEG")):
        yield Odd(name, ".jpg", partial(_frame, offset, value), "refused", name)
    head = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, HEIGHT, WIDTH, 16, 3)
    yield Odd("PSD of 16 bits", ".psd", lambda: head + bytes(400), "refused", "16 bits in RGB")


def _frame(offset: int, value: int) -> bytes:
    data = bytearray(saved("JPEG"))
    data[data.index(b"\xff\xc0") + offset] = value
    return bytes(data)


def _metadata() -> Iterator[Odd]:
    """Yield metadata of old formats."""
    yield Odd(
        "GIF with XMP and a comment",
        ".gif",
        _gif,
        "exact",
        reader="exiftool, Pillow",
        check=every(by_pillow(np.dstack([GREY] * 3)), tags(XMP_dash_dc__Title="A title")),
        out=".png",
    )
    yield Odd(
        "BMP with a profile",
        ".bmp",
        _bmp,
        "exact",
        check=every(by_pillow(rgb()), has_profile),
        out=".png",
    )
    yield Odd(
        "JPEG XL with XMP packed by Brotli",
        ".jxl",
        _jxl,
        "exact",
        reader="exiftool, Pillow",
        check=every(by_pillow(rgb()), tags(XMP_dash_dc__Title="A title")),
        out=".png",
    )


def _gif() -> bytes:
    data = saved("GIF", Image.fromarray(GREY))
    at = 13 + 3 * (2 << (data[10] & 7))
    trailer = b"\1" + bytes(range(255, -1, -1)) + b"\0"
    return data[:at] + b"\x21\xff\x0bXMP DataXMP" + packet() + trailer + b"\x21\xfe\3one\0" + data[at:]


def _bmp() -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = rgb()[::-1, :, ::-1].tobytes()
    info = (
        struct.pack("<IiiHHIIiiII", 124, WIDTH, HEIGHT, 1, 24, 0, len(pixels), 2835, 2835, 0, 0) + bytes(16) + b"DEBM"
    )
    info = info.ljust(112, b"\0") + struct.pack("<3I", 124 + len(pixels), len(profile), 0)
    return b"BM" + struct.pack("<IHHI", 138 + len(pixels) + len(profile), 0, 0, 138) + info + pixels + profile


def _jxl() -> bytes:
    def box(kind: bytes, content: bytes) -> bytes:
        return (8 + len(content)).to_bytes(4, "big") + kind + content

    stream = bytes(imagecodecs.jpegxl_encode(rgb(), lossless=True, usecontainer=False))
    packed = b"xml " + bytes(imagecodecs.brotli_encode(packet()))
    head = box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    return head + box(b"jxlc", stream) + box(b"brob", packed)
