"""Unknown metadata is kept or named in a note; metadata that refers to omitted parts is omitted too."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from contract.errors import Unsupported
from contract.job import Spec
from contract.provenance import Making
from contract.settings import Settings
from contract.severity import severity
from workers.generators.registry import load
from workers.images.image import ImageResult, enhance_image

MADE = Making("Respool 0", "0" * 16, 0, "a", "0" * 64, "lanczos", 1.0, "", (), "2020")

PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>%s</dc:title></rdf:Description></rdf:RDF></x:xmpmeta>'
)


def pixels(width: int = 48, height: int = 32) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 4, y * 6, (x + y) * 2], -1).astype(np.uint8))


def restore(tmp_path: Path, data: bytes, name: str, out: str = "", **options: object) -> tuple[bytes, ImageResult]:
    source, result = tmp_path / f"source-{name}", tmp_path / (out or name)
    source.write_bytes(data)
    spec = Spec(model="lanczos", scale=1.0, **options)  # type: ignore[arg-type]
    made = enhance_image(source, result.name, spec, load(spec, {}, Settings(device="cpu")), result, lambda: None, MADE)
    return result.read_bytes(), made


def jpeg(**options: object) -> bytes:
    file = io.BytesIO()
    pixels().save(file, "JPEG", quality=95, **options)
    return file.getvalue()


def with_segments(*segments: tuple[int, bytes]) -> bytes:
    data = jpeg()
    return data[:2] + b"".join(bytes((255, m)) + (len(b) + 2).to_bytes(2, "big") + b for m, b in segments) + data[2:]


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    file = io.BytesIO()
    pixels().save(file, "PNG")
    data = file.getvalue()
    made = b"".join(len(b).to_bytes(4, "big") + k + b + zlib.crc32(k + b).to_bytes(4, "big") for k, b in chunks)
    return data[:33] + made + data[33:]


def packet(inner: str) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1">'
        f'<dc:title><rdf:Alt><rdf:li xml:lang="x-default">A title</rdf:li></rdf:Alt></dc:title>{inner}</rdf:Description></rdf:RDF></x:xmpmeta>'
    ).encode()


def test_segments_of_a_jpeg_are_carried_or_named(tmp_path: Path) -> None:
    """Unknown segments are kept byte for byte; manifests and thermal data, which describe the source's pixels, are named."""
    data = with_segments(
        (0xEC, b"[picture info]\r\nID=AGFA\r\n"),
        (0xE3, b"META\0\0II*\0"),
        (0xEB, b"JP\0\1\0\0\0\1" + b"\0\0\0\x18jumdc2pa\0"),
        (0xE1, b"FLIR\0\1" + b"x" * 40),
    )
    result, made = restore(tmp_path, data, "a.jpg")
    assert b"[picture info]\r\nID=AGFA\r\n" in result
    assert b"META\0\0II*\0" in result
    assert b"c2pa" not in result
    assert b"FLIR" not in result
    for said in ("C2PA manifest was left out", "FLIR's thermal data were left out", "APP12", "APP3"):
        assert any(said in note for note in made.notes)
    _, made = restore(tmp_path, data, "a.jpg", "a.tif")
    assert any("APP12, APP3 left out" in note for note in made.notes)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (b"\0\0\0\x18ftypmp42" + bytes(200), "motion photo"),
        (b"\0\0\x30\x0aMotionPhoto_Data" + b"x" * 90 + b"SEFT", "motion photo"),
        (b"x" * 90 + b"SEFT", "Samsung"),
        (b"PK\3\4" + b"z" * 30, "ZIP"),
        (b"something else", "does not know"),
    ],
)
def test_bytes_after_the_end_are_named_and_no_longer_announced(tmp_path: Path, after: bytes, said: str) -> None:
    """A motion photo's film is omitted, and so is the XMP that refers to it; the title stays."""
    result, made = restore(tmp_path, jpeg(xmp=packet("")) + after, "a.jpg")
    assert any(f"{len(after)} bytes after the end" in note and said in note for note in made.notes)
    assert any("motion photo (GCamera)" in note for note in made.notes)
    assert b"MotionPhoto=" not in result
    assert b"A title" in result
    assert not restore(tmp_path, jpeg() + bytes(512), "a.jpg")[1].notes


@pytest.mark.parametrize("length", [62_000, 64_500, 200_000])
def test_long_xmp_becomes_extended_xmp(tmp_path: Path, length: int) -> None:
    """A packet too large for one segment with Respool's description keeps the title in the main part, the rest in the extension."""
    description = (
        f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{"y" * length}</rdf:li></rdf:Alt></dc:description>'
    )
    data = jpeg()
    body = packet(description)
    if length < 65_000:
        data = (
            data[:2]
            + b"\xff\xe1"
            + (len(body) + 31).to_bytes(2, "big")
            + b"http://ns.adobe.com/xap/1.0/\0"
            + body
            + data[2:]
        )
        result, made = restore(tmp_path, data, "a.jpg")
    else:
        file = io.BytesIO()
        pixels().save(file, "PNG", pnginfo=_itxt(body))
        result, made = restore(tmp_path, file.getvalue(), "a.png", "a.jpg")
    assert not any("XMP" in note and "left out: JPEG" in note for note in made.notes)
    start = result.index(b"http://ns.adobe.com/xap/1.0/\0")
    main = result[start : start + int.from_bytes(result[start - 2 : start], "big")]
    assert b"A title" in main
    assert result.count(b"y" * 1000) > 0
    assert (tmp_path / "a.jpg").stat().st_size > length
    again, _ = restore(tmp_path, result, "b.jpg", "b.tif")
    assert b"y" * length in again
    assert b"A title" in again


def _itxt(body: bytes) -> object:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", body.decode())
    return info


def test_chunks_of_a_png_are_carried_or_named(tmp_path: Path) -> None:
    """Chunks that stay valid for changed pixels are kept, others are named."""
    data = png(
        (b"sBIT", b"\5\6\5"),
        (b"oFFs", struct.pack(">iiB", 1, 2, 0)),
        (b"caBX", b"jumb"),
        (b"sCAL", b"\x011\x001"),
        (b"prVt", b"mine"),
        (b"prVT", b"not"),
    )
    result, made = restore(tmp_path, data, "a.png")
    assert b"sCAL\x011\x001" in result
    assert b"prVtmine" in result
    for gone, said in ((b"sBIT", "sBIT"), (b"oFFs", "oFFs"), (b"caBX", "C2PA"), (b"prVT", "prVT")):
        assert gone not in result
        assert any(said in note for note in made.notes)


def test_orientation_in_an_old_text_block_is_applied(tmp_path: Path) -> None:
    """EXIF that ImageMagick wrote as hexadecimal text rotates the image and becomes an eXIf chunk."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "Anna"
    block = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    text = b"\nexif\n%8d\n%s\n" % (len(block), block.hex().encode())
    result, made = restore(tmp_path, png((b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))), "a.png")
    with Image.open(io.BytesIO(result)) as image:
        assert image.size == (32, 48)
        found = image.getexif()
        assert (found[0x010E], found[0x0112]) == ("Anna", 1)
    assert any("orientation 6" in note for note in made.notes)


def test_hdr_is_refused_or_kept(tmp_path: Path) -> None:
    """PQ in a PNG's cICP or an AVIF's nclx is refused without --hdr, and stated in the result with it."""
    file = io.BytesIO()
    pixels().save(file, "AVIF", quality=95)
    avif = file.getvalue()
    at = avif.index(b"colrnclx") + 8
    sources = {
        "a.png": png((b"cICP", bytes((9, 16, 0, 1)))),
        "a.avif": avif[:at] + struct.pack(">HH", 9, 16) + avif[at + 4 :],
    }
    for name, data in sources.items():
        with pytest.raises(Unsupported, match="--hdr"):
            restore(tmp_path, data, name)
        result, made = restore(tmp_path, data, name, "out.png", hdr=True)
        assert b"cICP" + bytes((9, 16, 0, 1)) in result
        assert any("HDR (BT.2020, PQ)" in note for note in made.notes)


def test_wide_gamut_by_numbers_becomes_a_profile(tmp_path: Path) -> None:
    """An AVIF in Display P3 by nclx alone keeps its colours: its result has a profile for Display P3."""
    file = io.BytesIO()
    pixels().save(file, "AVIF", quality=95)
    avif = file.getvalue()
    at = avif.index(b"colrnclx") + 8
    result, _ = restore(tmp_path, avif[:at] + struct.pack(">HH", 12, 13) + avif[at + 4 :], "a.avif", "a.png")
    with Image.open(io.BytesIO(result)) as image:
        given = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        red = Image.new("RGB", (1, 1), (255, 0, 0))
        lab = ImageCms.profileToProfile(red, given, ImageCms.createProfile("LAB"), outputMode="LAB")
    assert lab is not None
    p3, srgb = np.asarray(lab)[0, 0].astype(int), (138, 208, 198)  # sRGB's red has L 54, a 81, b 70
    assert p3[1] - 128 > srgb[1] - 128 or p3[0] > srgb[0]


def test_a_second_packet_is_a_loss(tmp_path: Path) -> None:
    """Of two different XMP packets the first is kept and the second named; an equal one needs no word."""
    head = b"http://ns.adobe.com/xap/1.0/\0"
    first, second = (PACKET % name for name in (b"one", b"two"))
    data, made = restore(tmp_path, with_segments((0xE1, head + first), (0xE1, head + second)), "a.jpg")
    assert [note for note in made.notes if severity(note) == "loss"] == [
        "a second XMP packet was left out: the first one is kept"
    ]
    assert b"<dc:title>two" not in data
    _, made = restore(tmp_path, with_segments((0xE1, head + first), (0xE1, head + first)), "b.jpg")
    assert [note for note in made.notes if severity(note) == "loss"] == []
