"""Metadata of images: profile, EXIF, XMP, IPTC, density and comments, read from the result by other libraries."""

from __future__ import annotations

import io
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, IptcImagePlugin, PngImagePlugin

from contract.errors import BadInput
from contract.job import Item, Job, Spec, Weights
from contract.provenance import making
from contract.settings import Settings
from media.images.metadata import join_photoshop
from orchestrator.provenance.verify import embedded, verify
from workers.generators.registry import load
from workers.images.image import ImageResult, enhance_image

XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" xmlns:dc="http://purl.org/dc/elements/1.1/">'
    b"<dc:rights>Archiv M\xc3\xbcnchen</dc:rights></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
)
IPTC = b"\x1c\x02\x78\x00\x07Caption\x1c\x02\x50\x00\x06Author"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def enhance(source: Path, out: Path, **spec: object) -> ImageResult:
    wanted = Spec(**{"model": "lanczos", "scale": 2.0, **spec})  # type: ignore[arg-type]
    enhancer = load(wanted, {}, Settings(device="cpu"))
    return enhance_image(source, out.name, wanted, enhancer, out, lambda: None)


def exif(orientation: int = 1) -> Image.Exif:
    block = Image.Exif()
    block[0x010F] = "Maker"
    block[0x0112] = orientation
    block[0x011A] = block[0x011B] = Fraction(300)
    block[0x0128] = 2
    block[0x013B] = "Artist"
    block.get_ifd(0x8769).update({0x9003: "1987:06:05 04:03:02", 0xA002: 40, 0xA003: 30, 0x927C: b"MAKER NOTE 0123"})
    block.get_ifd(0x8825).update({1: "N", 2: (Fraction(48), Fraction(8), Fraction(30))})
    return block


def photograph(path: Path, orientation: int = 1) -> Path:
    """Write 40 x 30 pixels with all metadata that the format supports."""
    pixels = np.random.default_rng(3).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    block = exif(orientation)
    if path.suffix == ".jpg":
        image.save(path, exif=block, icc_profile=PROFILE, xmp=XMP, dpi=(300, 300), comment=b"a comment")
        data = path.read_bytes()
        resources = b"Photoshop 3.0\0" + (join_photoshop(IPTC, None) or b"")
        path.write_bytes(data[:2] + b"\xff\xed" + struct.pack(">H", len(resources) + 2) + resources + data[2:])
    elif path.suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_text("Title", "Bild")
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        image.save(path, exif=block, icc_profile=PROFILE, dpi=(300, 300), pnginfo=info)
    elif path.suffix == ".webp":
        image.save(path, exif=block, icc_profile=PROFILE, xmp=XMP, lossless=True)
    else:
        tifffile.imwrite(
            path,
            pixels,
            photometric="rgb",
            iccprofile=PROFILE,
            resolution=(300, 300),
            resolutionunit=2,
            description="a description",
            software=False,
            metadata=None,
            extratags=[
                (700, 1, len(XMP), XMP, True),
                (33723, 7, len(IPTC), IPTC, True),
                (315, 2, 7, "Artist", True),
                (274, 3, 1, orientation, True),
            ],
        )
    return path


def found_metadata(path: Path) -> dict[str, object]:
    """Return the metadata that Pillow or tifffile find in a file."""
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as file:
            tags = {tag.code: tag.value for tag in file.pages[0].tags.values()}
        x = Fraction(*tags[282]) * (Fraction(254, 100) if tags.get(296) == 3 else 1) if 282 in tags else None
        return {"icc": tags.get(34675), "xmp": tags.get(700), "iptc": tags.get(33723), "artist": tags.get(315),
                "dpi": x, "date": (tags.get(34665) or {}).get("DateTimeOriginal")}  # fmt: skip
    with Image.open(path) as image:
        image.load()
        block = image.getexif()
        iptc = IptcImagePlugin.getiptcinfo(image)
        xmp = image.info.get("xmp")
        dpi = image.info.get("dpi", (block.get(0x011A),))[0]
        return {"icc": image.info.get("icc_profile"), "xmp": xmp, "iptc": iptc, "artist": block.get(0x013B),
                "dpi": dpi, "date": block.get_ifd(0x8769).get(0x9003), "orientation": block.get(0x0112),
                "size": tuple(block.get_ifd(0x8769).get(t) for t in (0xA002, 0xA003)),
                "maker": block.get_ifd(0x8769).get(0x927C), "gps": block.get_ifd(0x8825).get(1),
                "comment": image.info.get("comment"), "text": image.info.get("Title")}  # fmt: skip


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("wanted", [".jpg", ".png", ".webp", ".tif"])
def test_metadata_is_kept_between_all_formats(tmp_path: Path, suffix: str, wanted: str) -> None:
    """For all pairs of formats the profile is identical, EXIF and XMP are kept, and the density preserves the physical size."""
    source = photograph(tmp_path / f"a{suffix}")
    out = tmp_path / f"b{wanted}"
    enhance(source, out)
    found = found_metadata(out)
    assert found["icc"] == PROFILE
    assert b"Archiv M\xc3\xbcnchen" in bytes(found["xmp"])  # type: ignore[arg-type]
    assert found["artist"] == "Artist"
    assert float(found["dpi"]) == pytest.approx(600, abs=0.02)  # type: ignore[arg-type]
    if suffix != ".tif":
        assert found["date"] == "1987:06:05 04:03:02"
    if suffix in (".jpg", ".tif") and wanted in (".jpg", ".tif"):
        expected = IPTC if wanted == ".tif" else {(2, 120): b"Caption", (2, 80): b"Author"}
        assert found["iptc"] == expected


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_exif_has_the_new_size(tmp_path: Path, suffix: str) -> None:
    """EXIF has the new size and stays unchanged elsewhere: maker note, GPS, dates."""
    source = photograph(tmp_path / f"a{suffix}")
    out = tmp_path / f"b{suffix}"
    enhance(source, out)
    found = found_metadata(out)
    assert found["size"] == (80, 60)
    assert found["maker"] == b"MAKER NOTE 0123"
    assert found["gps"] == "N"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_orientation_is_applied_and_its_tag_with_it(tmp_path: Path, suffix: str) -> None:
    """A rotated image becomes upright, no tag is left that would rotate it again, and a note reports it."""
    source = photograph(tmp_path / f"a{suffix}", orientation=6)
    out = tmp_path / f"b{suffix}"
    made = enhance(source, out, scale=1.0)
    assert any("orientation 6 was applied" in note for note in made.notes)
    with Image.open(out) as image, Image.open(source) as given:
        assert image.size == (30, 40)
        assert image.getexif().get(0x0112, 1) == 1
        given.load()  # Pillow turns a TIFF when it loads it, and only a TIFF
        upright = given if given.size == (30, 40) else given.transpose(Image.Transpose.ROTATE_270)
        turned = np.asarray(upright.convert("RGB")).astype(int)
        assert np.abs(np.asarray(image).astype(int) - turned).mean() < 3
    assert b'tiff:Orientation="1"' in bytes(found_metadata(out)["xmp"])  # type: ignore[arg-type]


def test_nothing_is_invented(tmp_path: Path) -> None:
    """An image without metadata gets none: no density, no EXIF, no profile."""
    pixels = np.zeros((10, 10, 3), np.uint8)
    for suffix in (".jpg", ".png", ".webp", ".tif"):
        source, out = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
        if suffix == ".tif":
            tifffile.imwrite(source, pixels, photometric="rgb", software=False, metadata=None, resolution=None)
            with tifffile.TiffFile(source) as file:
                given = {tag.code for tag in file.pages[0].tags.values()}
        else:
            Image.fromarray(pixels).save(source)
        enhance(source, out)
        if suffix == ".tif":
            with tifffile.TiffFile(out) as file:
                codes = {tag.code for tag in file.pages[0].tags.values()}
            assert not codes & ({282, 283, 296, 34665, 34675, 700, 305} - given)
        else:
            with Image.open(out) as image:
                assert not image.getexif()
                assert not {"icc_profile", "dpi", "xmp"} & image.info.keys()


def test_comments_and_text_are_kept(tmp_path: Path) -> None:
    """The result contains JPEG comments and PNG text chunks."""
    enhance(photograph(tmp_path / "a.jpg"), tmp_path / "b.jpg")
    enhance(photograph(tmp_path / "a.png"), tmp_path / "b.png")
    assert found_metadata(tmp_path / "b.jpg")["comment"] == b"a comment"
    assert found_metadata(tmp_path / "b.png")["text"] == "Bild"


def test_unsupported_metadata_is_noted(tmp_path: Path) -> None:
    """IPTC in WebP, text in TIFF and a thumbnail of the old image are dropped, with a note each."""
    made = enhance(photograph(tmp_path / "a.jpg"), tmp_path / "b.webp")
    assert any("IPTC" in note for note in made.notes)
    made = enhance(photograph(tmp_path / "a.png"), tmp_path / "b.tif")
    assert any("text" in note for note in made.notes)
    block = exif().tobytes()
    image = Image.new("RGB", (16, 16))
    small = io.BytesIO()
    image.save(small, "JPEG")
    with_thumbnail = bytearray(block[6:])
    order = "<" if with_thumbnail[:2] == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", with_thumbnail, 4)
    (count,) = struct.unpack_from(order + "H", with_thumbnail, first)
    struct.pack_into(order + "I", with_thumbnail, first + 2 + 12 * count, len(with_thumbnail))
    entries = [(0x201, len(with_thumbnail) + 30), (0x202, len(small.getvalue()))]
    with_thumbnail += struct.pack(order + "H", 2)
    with_thumbnail += b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in entries)
    with_thumbnail += struct.pack(order + "I", 0) + small.getvalue()
    image.save(tmp_path / "t.jpg", exif=b"Exif\0\0" + bytes(with_thumbnail))
    made = enhance(tmp_path / "t.jpg", tmp_path / "u.jpg")
    assert any("thumbnail" in note for note in made.notes)
    with Image.open(tmp_path / "u.jpg") as result:
        assert not result.getexif().get_ifd(1)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_a_result_declares_its_provenance_and_can_be_verified(tmp_path: Path, suffix: str) -> None:
    """XMP names source, weights and generated detail; verification detects changed pixels, and ignores changed metadata."""
    weights = Weights("generator", "net", "c" * 64, "srvgg", {}, "CC0-1.0", "test")
    item = Item(0, "image", f"a{suffix}", f"b{suffix}", "d" * 64, 10)
    job = Job(
        "0123456789abcdef", Spec(model="net", scale=2.0, weights=(weights,)), (item,), "2026-01-02T03:04:05+00:00"
    )
    source, out = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    if suffix == ".avif":
        Image.new("RGB", (40, 30), "red").save(source)
    else:
        photograph(source)
    spec = Spec(model="lanczos", scale=2.0)
    made = making(job, item, "cpu", "fp32", "torch")
    enhance_image(source, out.name, spec, load(spec, {}, Settings(device="cpu")), out, lambda: None, made)
    declared = embedded(out)
    assert declared is not None
    assert msgspec.structs.replace(declared, content="") == made
    with Image.open(out) as image:
        xmp = image.info.get("xmp") or image.tag_v2[700]
    assert b"generated detail" in xmp
    assert b"compositeWithTrainedAlgorithmicMedia" in xmp
    assert (b"Archiv M\xc3\xbcnchen" in xmp) == (suffix != ".avif")
    if suffix == ".avif":
        assert "cannot be reached" in verify(out, lambda _: [])[0].fault
        return
    assert not verify(out, lambda _: [])[0].fault
    data = bytearray(out.read_bytes())
    at = data.find(b"Archiv")
    data[at : at + 6] = b"ARCHIV"
    if suffix == ".png":  # the text's checksum goes with it; readers may drop the chunk, the picture is the same
        length = data.rfind(b"iTXt")
        end = length + 4 + int.from_bytes(data[length - 4 : length], "big")
        data[end : end + 4] = zlib.crc32(bytes(data[length:end])).to_bytes(4, "big")
    out.write_bytes(data)
    assert not verify(out, lambda _: [])[0].fault
    for place in range(len(data) - 40, 0, -1):  # from the end: most formats end with the picture
        hurt = bytearray(data)
        hurt[place] ^= 1
        out.write_bytes(hurt)
        try:
            findings = verify(out, lambda _: [])
        except BadInput:
            continue
        if findings[0].fault:
            break
    else:
        pytest.fail("no flipped byte was found out")
    source.write_bytes(b"another")
    out.write_bytes(data)
    assert "made from" in verify(out, lambda _: [], source)[0].fault
