"""Odd pictures of metadata: regions under all orientations, what is not known, and what samples mean. Rows of docs/fidelity-images.md."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from functools import partial

import numpy as np
import tifffile
from PIL import Image

from benchmarks.fidelity.odd_images import HEIGHT, WIDTH, Check, Odd, exiftool, first_page, has, rgb, saved, tagged

_BOX = (16, 8, 32, 24)
"""Left, top, width and height of the marked region in stored pixels."""
_SPACES = (
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/" '
    'xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#" xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#" '
    'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
)


def packet(inner: str = "", attributes: str = "") -> bytes:
    """Return an XMP packet with a title and what is given."""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'{_SPACES} {attributes}><dc:title><rdf:Alt><rdf:li xml:lang="x-default">A title</rdf:li></rdf:Alt></dc:title>{inner}</rdf:Description></rdf:RDF></x:xmpmeta>'
    ).encode()


def _regions(orientation: int) -> bytes:
    x, y, w, h = (_BOX[0] + _BOX[2] / 2) / WIDTH, (_BOX[1] + _BOX[3] / 2) / HEIGHT, _BOX[2] / WIDTH, _BOX[3] / HEIGHT
    inner = (
        f'<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:AppliedToDimensions stDim:w="{WIDTH}" stDim:h="{HEIGHT}" stDim:unit="pixel"/>'
        f'<mwg-rs:RegionList><rdf:Bag><rdf:li rdf:parseType="Resource"><mwg-rs:Name>Anna</mwg-rs:Name><mwg-rs:Area stArea:x="{x}" stArea:y="{y}" '
        f'stArea:w="{w}" stArea:h="{h}" stArea:unit="normalized"/></rdf:li></rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>'
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8769)[0x9214] = (_BOX[0] + _BOX[2] // 2, _BOX[1] + _BOX[3] // 2, _BOX[2], _BOX[3])
    pixels = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    pixels[_BOX[1] : _BOX[1] + _BOX[3], _BOX[0] : _BOX[0] + _BOX[2]] = 255
    return saved("JPEG", Image.fromarray(pixels), quality=95, exif=exif, xmp=packet(inner))


def _on_the_pixels(data: bytes) -> str:
    """Hold exiftool's region and subject area against the white rectangle that Pillow finds."""
    with Image.open(io.BytesIO(data)) as image:
        rows, columns = np.nonzero(np.asarray(image.convert("L")) > 140)
        width, height = image.size
    found = exiftool(data)
    if not found:
        return ""
    place = (columns.min(), rows.min(), columns.max() - columns.min() + 1, rows.max() - rows.min() + 1)
    area = found["XMP-mwg-rs:RegionInfo"]["RegionList"][0]["Area"]
    box = (
        (area["X"] - area["W"] / 2) * width,
        (area["Y"] - area["H"] / 2) * height,
        area["W"] * width,
        area["H"] * height,
    )
    subject = [float(v) for v in str(found["ExifIFD:SubjectArea"]).split()]
    second = (subject[0] - subject[2] / 2, subject[1] - subject[3] / 2, subject[2], subject[3])
    off = max(max(abs(a - b) for a, b in zip(which, place, strict=True)) for which in (box, second))
    return "" if off <= 3 else f"the region is {off:.0f} pixels off"


def metadata() -> Iterator[Odd]:
    """Yield metadata about pixels, and what Respool does not know."""
    yield from _about_pixels()
    yield from _about_segments()
    yield from _about_chunks()
    yield from _about_tiff()


def _about_pixels() -> Iterator[Odd]:
    """Yield metadata about pixels, and what follows the end of a JPEG."""
    for orientation in range(1, 9):
        yield Odd(
            f"named face region, subject area, orientation {orientation}",
            ".jpg",
            partial(_regions, orientation),
            "noted" if orientation > 1 else "exact",
            reader="exiftool, Pillow",
            check=_on_the_pixels,
        )
    thumbnail = packet("<xmp:Thumbnails><rdf:Alt><rdf:li>x</rdf:li></rdf:Alt></xmp:Thumbnails>")
    yield Odd(
        "thumbnail in XMP",
        ".jpg",
        lambda: saved("JPEG", xmp=thumbnail),
        "noted",
        "thumbnails",
        "exiftool",
        has(b"A title", gone=(b"Thumbnails",)),
    )
    yield Odd(
        "Photoshop's resolution",
        ".jpg",
        lambda: _segments((0xED, _photoshop())),
        "exact",
        "",
        "exiftool",
        _tag("Photoshop:XResolution", 300),
    )
    motion = packet("", 'GCamera:MotionPhoto="1"')
    film = b"\0\0\0\x18ftypmp42" + bytes(400)
    yield Odd(
        "motion photo",
        ".jpg",
        lambda: saved("JPEG", xmp=motion) + film,
        "noted",
        "motion photo",
        "bytes",
        has(b"A title", gone=(b"MotionPhoto=", b"ftypmp42")),
    )
    yield Odd(
        "Samsung trailer",
        ".jpg",
        lambda: saved("JPEG") + b"x" * 90 + b"SEFT",
        "noted",
        "Samsung",
        "bytes",
        has(gone=(b"SEFT",)),
    )
    yield Odd("second JPEG after the first", ".jpg", lambda: saved("JPEG") * 2, "noted", "another JPEG", "bytes")


def _about_segments() -> Iterator[Odd]:
    """Yield segments and chunks of manifests, thermal data and gain maps."""
    yield Odd(
        "C2PA manifest in a JPEG",
        ".jpg",
        lambda: _segments((0xEB, b"JP\0\1\0\0\0\1\0\0\0\x18jumdc2pa\0")),
        "noted",
        "C2PA manifest",
        "bytes",
        has(gone=(b"c2pa",)),
    )
    yield Odd(
        "C2PA manifest in a PNG",
        ".png",
        lambda: _chunks((b"caBX", b"jumb")),
        "noted",
        "C2PA manifest",
        "bytes",
        has(gone=(b"caBX",)),
    )
    yield Odd(
        "APP12 picture info, APP3 META",
        ".jpg",
        lambda: _segments((0xEC, b"[picture info]\r\nID=AGFA"), (0xE3, b"META\0\0II*\0")),
        "noted",
        "APP12",
        "bytes",
        has(b"[picture info]\r\nID=AGFA", b"META\0\0II*\0"),
    )
    yield Odd(
        "FLIR thermal data",
        ".jpg",
        lambda: _segments((0xE1, b"FLIR\0\1" + b"x" * 40)),
        "noted",
        "thermal",
        "bytes",
        has(gone=(b"FLIR",)),
    )
    yield Odd(
        "MPF with a gain map",
        ".jpg",
        lambda: saved("MPO", save_all=True, append_images=[Image.new("L", (20, 20))]),
        "noted",
        "gain maps",
        "bytes",
        has(gone=(b"MPF\0",)),
    )
    long = packet(
        f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{"y" * 90_000}</rdf:li></rdf:Alt></dc:description>'
    )
    yield Odd("XMP of 90,000 bytes", ".png", lambda: _xmp_png(long), "exact", "", "exiftool", _long, ".jpg")


def _about_chunks() -> Iterator[Odd]:
    """Yield PNG chunks and AVIF properties."""
    yield Odd(
        "PNG: sBIT, oFFs",
        ".png",
        lambda: _chunks((b"sBIT", b"\5\6\5"), (b"oFFs", struct.pack(">iiB", 1, 2, 0))),
        "noted",
        "sBIT",
        "bytes",
        has(gone=(b"sBIT", b"oFFs")),
    )
    yield Odd(
        "PNG: private chunk that may be copied",
        ".png",
        lambda: _chunks((b"prVt", b"mine")),
        "noted",
        "prVt",
        "bytes",
        has(b"prVtmine"),
    )
    yield Odd(
        "PNG: EXIF as text, orientation 6",
        ".png",
        _text_exif,
        "noted",
        "orientation 6",
        "exiftool",
        _tag("IFD0:ImageDescription", "Anna"),
    )
    yield Odd("PNG: cICP, PQ", ".png", lambda: _chunks((b"cICP", bytes((9, 16, 0, 1)))), "refused", "--hdr")
    yield Odd(
        "PNG: cICP, PQ, with --hdr",
        ".png",
        lambda: _chunks((b"cICP", bytes((9, 16, 0, 1)))),
        "noted",
        "HDR",
        "bytes",
        has(b"cICP" + bytes((9, 16, 0, 1))),
        options={"hdr": True},
    )
    yield Odd(
        "PNG: gamma 1.0 (linear light)",
        ".png",
        lambda: _chunks((b"gAMA", struct.pack(">I", 100_000))),
        "exact",
        "",
        "bytes",
        has(b"gAMA" + struct.pack(">I", 100_000)),
    )
    yield Odd("AVIF: nclx, PQ", ".avif", lambda: _nclx(9, 16), "refused", "--hdr")
    yield Odd("AVIF: nclx, Display P3", ".avif", lambda: _nclx(12, 13), "noted", "ICC profile", "Pillow", _has_profile)


def _about_tiff() -> Iterator[Odd]:
    """Yield private and sample tags of TIFF."""
    yield Odd(
        "TIFF: private tag",
        ".tif",
        lambda: tagged(rgb(), extratags=[(65_001, 2, 5, "mine", True)]),
        "exact",
        "",
        "tifffile",
        _tiff_tag(65_001, "mine"),
    )
    yield Odd(
        "TIFF: OME-XML",
        ".tif",
        lambda: tagged(rgb(), description='<OME><Image SizeX="112"/></OME>'),
        "noted",
        "OME-XML",
        "bytes",
        has(gone=(b"<OME>",)),
    )
    yield Odd(
        "TIFF: 12 bits in 16, MaxSampleValue",
        ".tif",
        lambda: tagged(rgb()[..., 0].astype(np.uint16) * 16, extratags=[(281, 3, 1, 4095, True)]),
        "noted",
        "white was taken to be 4095",
        "tifffile",
        _tiff_tag(281, 4095),
    )


def _segments(*segments: tuple[int, bytes]) -> bytes:
    data = saved("JPEG")
    return data[:2] + b"".join(bytes((255, m)) + (len(b) + 2).to_bytes(2, "big") + b for m, b in segments) + data[2:]


def _photoshop() -> bytes:
    block = struct.pack(">IHHIHH", 300 << 16, 1, 1, 300 << 16, 1, 1)
    return b"Photoshop 3.0\x008BIM\x03\xed\0\0" + len(block).to_bytes(4, "big") + block


def _chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    data = saved("PNG")
    made = b"".join(len(b).to_bytes(4, "big") + k + b + zlib.crc32(k + b).to_bytes(4, "big") for k, b in chunks)
    return data[:33] + made + data[33:]


def _xmp_png(body: bytes) -> bytes:
    return _chunks((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + body))


def _text_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "Anna"
    block = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    return _chunks(
        (
            b"zTXt",
            b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n%8d\n%s\n" % (len(block), block.hex().encode())),
        )
    )


def _nclx(primaries: int, transfer: int) -> bytes:
    data = saved("AVIF", quality=95)
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def _tag(name: str, value: object) -> Check:
    def check(data: bytes) -> str:
        found = exiftool(data)
        return "" if not found or found.get(name) == value else f"{name} is {found.get(name)!r}"

    return check


def _long(data: bytes) -> str:
    found = exiftool(data)
    if not found:
        return ""
    return (
        ""
        if found.get("XMP-dc:Title") == "A title" and len(str(found.get("XMP-dc:Description"))) == 90_000
        else "exiftool reads another title or description"
    )


def _has_profile(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as image:
        return "" if image.info.get("icc_profile") else "Pillow finds no profile"


def _tiff_tag(number: int, value: object) -> Check:
    def check(data: bytes) -> str:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            found = first_page(file).tags.get(number)
        return "" if found is not None and found.value == value else f"tifffile reads {found and found.value!r}"

    return check
