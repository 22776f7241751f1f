"""Odd pictures with parts that are carried or named: segments, chunks, what follows the end. Rows of docs/fidelity-images.md."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from benchmarks.fidelity.odd_checks import (
    by_pillow,
    ends_with_picture,
    every,
    exiftool,
    has,
    has_profile,
    near,
    private_chunk,
    tags,
)
from benchmarks.fidelity.odd_images import Odd, rgb, saved
from benchmarks.fidelity.odd_packets import packet

BOTH = "exiftool, Pillow"


def segments(*found: tuple[int, bytes]) -> bytes:
    """Return a JPEG with application segments."""
    data = saved("JPEG")
    return data[:2] + b"".join(bytes((255, m)) + (len(b) + 2).to_bytes(2, "big") + b for m, b in found) + data[2:]


def chunks(*found: tuple[bytes, bytes]) -> bytes:
    """Return a PNG with chunks behind its header."""
    data = saved("PNG")
    made = b"".join(len(b).to_bytes(4, "big") + k + b + zlib.crc32(k + b).to_bytes(4, "big") for k, b in found)
    return data[:33] + made + data[33:]


def manifest() -> bytes:
    """Return a C2PA manifest store with one box of JSON (ISO/IEC 19566-5)."""
    described = b"c2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71\x03c2pa\0"
    inner = struct.pack(">I", len(described) + 8) + b"jumd" + described + struct.pack(">I", 15) + b'json{"a":1}'
    return struct.pack(">I", len(inner) + 8) + b"jumb" + inner


def unknown() -> Iterator[Odd]:
    """Yield segments, chunks and trailers."""
    yield from _trailers()
    yield from _segments()
    yield from _chunks()
    yield from _code_points()


def _trailers() -> Iterator[Odd]:
    """Yield what follows the end of a JPEG."""
    motion = packet("", 'GCamera:MotionPhoto="1"')
    film = b"\0\0\0\x18ftypmp42" + bytes(400)
    alone = every(near(rgb()), ends_with_picture)
    yield Odd(
        "motion photo",
        ".jpg",
        lambda: saved("JPEG", xmp=motion) + film,
        "noted",
        "motion photo",
        BOTH,
        every(alone, tags(XMP_dash_dc__Title="A title", XMP_dash_GCamera=None)),
    )
    yield Odd(
        "Samsung trailer", ".jpg", lambda: saved("JPEG") + b"x" * 90 + b"SEFT", "noted", "Samsung", "Pillow", alone
    )
    yield Odd(
        "second JPEG after the first", ".jpg", lambda: saved("JPEG") * 2, "noted", "another JPEG", "Pillow", alone
    )
    yield Odd(
        "MPF with a gain map",
        ".jpg",
        lambda: saved("MPO", save_all=True, append_images=[Image.new("L", (20, 20))]),
        "noted",
        "gain maps",
        BOTH,
        every(alone, tags(MPF0=None, MPImage2=None)),
    )


def _segments() -> Iterator[Odd]:
    """Yield segments of manifests, old cameras and thermal data, and two packets."""
    yield Odd(
        "C2PA manifest in a JPEG",
        ".jpg",
        lambda: segments((0xEB, b"JP\0\1\0\0\0\1" + manifest())),
        "noted",
        "C2PA manifest",
        BOTH,
        every(near(rgb()), tags(JUMBF=None)),
    )
    yield Odd(
        "APP12 picture info, APP3 META",
        ".jpg",
        lambda: segments((0xEC, b"[picture info]\r\nID=AGFA"), (0xE3, b"META\0\0II*\0")),
        "noted",
        "APP12",
        BOTH,
        every(near(rgb()), tags(PictureInfo__ID="AGFA"), has(b"META\0\0II*\0")),
    )
    yield Odd(
        "FLIR thermal data",
        ".jpg",
        lambda: segments((0xE1, b"FLIR\0\1" + b"x" * 40)),
        "noted",
        "thermal",
        BOTH,
        every(near(rgb()), tags(FLIR=None), has(gone=(b"FLIR\0",))),
    )
    head = b"http://ns.adobe.com/xap/1.0/\0"
    yield Odd(
        "two XMP packets in a JPEG",
        ".jpg",
        lambda: segments((0xE1, head + packet()), (0xE1, head + packet().replace(b"A title", b"Another"))),
        "noted",
        "second XMP packet",
        BOTH,
        every(near(rgb()), tags(XMP_dash_dc__Title="A title")),
    )
    long = packet(
        f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{"y" * 90_000}</rdf:li></rdf:Alt></dc:description>'
    )
    yield Odd(
        "XMP of 90,000 bytes",
        ".png",
        lambda: chunks((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + long)),
        "exact",
        "",
        "exiftool",
        _long,
        ".jpg",
    )


def _chunks() -> Iterator[Odd]:
    """Yield PNG chunks."""
    exact = by_pillow(rgb())
    yield Odd(
        "C2PA manifest in a PNG",
        ".png",
        lambda: chunks((b"caBX", manifest())),
        "noted",
        "C2PA manifest",
        BOTH,
        every(exact, tags(JUMBF=None)),
    )
    yield Odd(
        "PNG: sBIT, oFFs",
        ".png",
        lambda: chunks((b"sBIT", b"\5\6\5"), (b"oFFs", struct.pack(">iiB", 1, 2, 0))),
        "noted",
        "sBIT",
        BOTH,
        every(exact, tags(PNG__SignificantBits=None, PNG__ImageOffset=None)),
    )
    yield Odd(
        "PNG: private chunk that may be copied",
        ".png",
        lambda: chunks((b"prVt", b"mine")),
        "noted",
        "prVt",
        "Pillow",
        every(exact, private_chunk(b"prVt", b"mine")),
    )
    yield Odd(
        "PNG: EXIF as text, orientation 6",
        ".png",
        _text_exif,
        "noted",
        "orientation 6",
        BOTH,
        every(by_pillow(rgb().swapaxes(0, 1)[:, ::-1]), tags(IFD0__ImageDescription="Anna")),
    )


def _code_points() -> Iterator[Odd]:
    """Yield pictures whose colours are stated by numbers."""
    pq = b"cICP", bytes((9, 16, 0, 1))
    yield Odd("PNG: cICP, PQ", ".png", lambda: chunks(pq), "refused", "--hdr")
    yield Odd(
        "PNG: cICP, PQ, with --hdr",
        ".png",
        lambda: chunks(pq),
        "noted",
        "HDR",
        BOTH,
        every(
            by_pillow(rgb()),
            tags(PNG_dash_cICP__ColorPrimaries=9, PNG_dash_cICP__TransferCharacteristics=16),
        ),
        options={"hdr": True},
    )
    yield Odd(
        "PNG: gamma 1.0 (linear light)",
        ".png",
        lambda: chunks((b"gAMA", struct.pack(">I", 100_000))),
        "exact",
        "",
        BOTH,
        every(by_pillow(rgb()), tags(PNG__Gamma=1)),
    )
    yield Odd("AVIF: nclx, PQ", ".avif", lambda: _nclx(9, 16), "refused", "--hdr")
    yield Odd(
        "AVIF: nclx, Display P3",
        ".avif",
        lambda: _nclx(12, 13),
        "noted",
        "ICC profile",
        "Pillow",
        every(near(rgb()), has_profile),
    )


def _text_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "Anna"
    block = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    text = zlib.compress(b"\nexif\n%8d\n%s\n" % (len(block), block.hex().encode()))
    return chunks((b"zTXt", b"Raw profile type exif\0\0" + text))


def _nclx(primaries: int, transfer: int) -> bytes:
    data = saved("AVIF", quality=95)
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def _long(data: bytes) -> str:
    found = exiftool(data)
    if not found:
        return ""
    return (
        ""
        if found.get("XMP-dc:Title") == "A title" and len(str(found.get("XMP-dc:Description"))) == 90_000
        else "exiftool reads another title or description"
    )
