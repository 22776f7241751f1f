"""Metadata about pixels is adapted to the result: rotated for all eight orientations, scaled, or omitted with a note."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from contract.job import Spec
from contract.settings import Settings
from workers.generators.registry import load
from workers.images.image import ImageResult, enhance_image

WIDTH, HEIGHT = 160, 120
LEFT, TOP, ACROSS, DOWN = 32, 24, 48, 24
"""The marked rectangle of the stored image."""
NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "MPRI": "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
    "MPReg": "http://ns.microsoft.com/photo/1.2/t/Region#",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
}


def packet() -> bytes:
    """Return regions of three schemes around the marked rectangle, a thumbnail, and a title that must stay."""
    x, y, w, h = LEFT / WIDTH, TOP / HEIGHT, ACROSS / WIDTH, DOWN / HEIGHT
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items() if prefix != "rdf")
    return f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{NAMESPACES["rdf"]}"><rdf:Description rdf:about="" {spaces}>
    <dc:title><rdf:Alt><rdf:li xml:lang="x-default">Anna &amp; Jo</rdf:li></rdf:Alt></dc:title>
    <mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:AppliedToDimensions stDim:w="{WIDTH}" stDim:h="{HEIGHT}" stDim:unit="pixel"/>
    <mwg-rs:RegionList><rdf:Bag><rdf:li><rdf:Description mwg-rs:Name="Anna"><mwg-rs:Area stArea:x="{x + w / 2}" stArea:y="{y + h / 2}"
    stArea:w="{w}" stArea:h="{h}" stArea:unit="normalized"/></rdf:Description></rdf:li></rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>
    <MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag><rdf:li MPReg:Rectangle="{x}, {y}, {w}, {h}"/></rdf:Bag></MPRI:Regions></MP:RegionInfo>
    <Iptc4xmpExt:ImageRegion><rdf:Bag><rdf:li rdf:parseType="Resource"><Iptc4xmpExt:RegionBoundary rdf:parseType="Resource">
    <Iptc4xmpExt:rbShape>rectangle</Iptc4xmpExt:rbShape><Iptc4xmpExt:rbUnit>pixel</Iptc4xmpExt:rbUnit><Iptc4xmpExt:rbX>{LEFT}</Iptc4xmpExt:rbX>
    <Iptc4xmpExt:rbY>{TOP}</Iptc4xmpExt:rbY><Iptc4xmpExt:rbW>{ACROSS}</Iptc4xmpExt:rbW><Iptc4xmpExt:rbH>{DOWN}</Iptc4xmpExt:rbH>
    </Iptc4xmpExt:RegionBoundary></rdf:li></rdf:Bag></Iptc4xmpExt:ImageRegion>
    <xmp:Thumbnails><rdf:Alt><rdf:li>x</rdf:li></rdf:Alt></xmp:Thumbnails></rdf:Description></rdf:RDF></x:xmpmeta>""".encode()


def photoshop() -> bytes:
    """Return a resolution, guides at the rectangle's top and left edge, and a path through its corner."""
    resolution = struct.pack(">IHHIHH", 300 << 16, 1, 1, 150 << 16, 1, 1)
    guides = struct.pack(">IIII", 1, 576, 576, 2) + struct.pack(">IBIB", TOP * 32, 1, LEFT * 32, 0)
    corner = (round(TOP / HEIGHT * (1 << 24)), round(LEFT / WIDTH * (1 << 24)))
    path = struct.pack(">H6i", 1, *corner * 3)
    blocks = ((0x03ED, resolution), (0x0408, guides), (0x07D0, path), (0x041A, b"slices"))
    return b"".join(
        b"8BIM" + number.to_bytes(2, "big") + b"\0\0" + len(data).to_bytes(4, "big") + data + b"\0" * (len(data) % 2)
        for number, data in blocks
    )


def source(orientation: int) -> bytes:
    """Return a dark JPEG with the marked rectangle in white."""
    pixels = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    pixels[TOP : TOP + DOWN, LEFT : LEFT + ACROSS] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    inner = exif.get_ifd(0x8769)
    inner[0x9214] = (LEFT + ACROSS // 2, TOP + DOWN // 2, ACROSS, DOWN)
    inner[0xA214] = (LEFT + ACROSS // 2, TOP + DOWN // 2)
    inner[0xA20E], inner[0xA20F], inner[0xA210] = IFDRational(1000, 1), IFDRational(500, 1), 3
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, exif=exif, xmp=packet())
    data = file.getvalue()
    block = b"Photoshop 3.0\0" + photoshop()
    return data[:2] + b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block + data[2:]


def restored(tmp_path: Path, data: bytes, suffix: str) -> tuple[Image.Image, ImageResult]:
    file, out = tmp_path / "source.jpg", tmp_path / f"out{suffix}"
    file.write_bytes(data)
    spec = Spec(model="lanczos", scale=2.0)
    enhancer = load(spec, {}, Settings(device="cpu"))
    made = enhance_image(file, out.name, spec, enhancer, out, lambda: None)
    with Image.open(out) as image:
        image.load()
        return image, made


def marked(image: Image.Image) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the white area of a result."""
    ys, xs = np.nonzero(np.asarray(image.convert("L")) > 140)
    return int(xs.min()), int(ys.min()), int(xs.max() - xs.min() + 1), int(ys.max() - ys.min() + 1)


def found(xmp: bytes, path: str) -> Any:
    node = ET.fromstring(xmp[xmp.index(b"<x:xmpmeta") : xmp.rindex(b"</x:xmpmeta>") + 12]).find(path, NAMESPACES)
    assert node is not None, path
    return node


def numbers(node: ET.Element, prefix: str, keys: str) -> list[float]:
    return [float(node.attrib.get(f"{{{NAMESPACES[prefix]}}}{key}") or "nan") for key in keys]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_regions_move_with_the_pixels(tmp_path: Path, orientation: int, suffix: str) -> None:
    """Every scheme's region stays on its rectangle for every orientation, in JPEG and TIFF."""
    image, made = restored(tmp_path, source(orientation), suffix)
    place = marked(image)
    width, height = image.size
    xmp = image.info.get("xmp") or image.tag_v2[700]  # type: ignore[attr-defined]  # of a TIFF
    area = numbers(found(xmp, ".//mwg-rs:Area"), "stArea", "xywh")
    box = (area[0] - area[2] / 2) * width, (area[1] - area[3] / 2) * height, area[2] * width, area[3] * height
    assert box == pytest.approx(place, abs=3)
    assert numbers(found(xmp, ".//mwg-rs:AppliedToDimensions"), "stDim", "wh") == [width, height]
    rectangle = [
        float(v) for v in found(xmp, ".//MPRI:Regions//rdf:li").attrib[f"{{{NAMESPACES['MPReg']}}}Rectangle"].split(",")
    ]
    assert [rectangle[0] * width, rectangle[1] * height, rectangle[2] * width, rectangle[3] * height] == pytest.approx(
        place, abs=3
    )
    pixels = [float(found(xmp, f".//Iptc4xmpExt:rb{key}").text) for key in "XYWH"]
    assert pixels == pytest.approx(place, abs=3)
    assert found(xmp, ".//dc:title//rdf:li").text == "Anna & Jo"
    assert b"Thumbnails" not in xmp
    assert any("thumbnails" in note for note in made.notes)
    inner = image.getexif().get_ifd(0x8769)
    centre = place[0] + place[2] / 2, place[1] + place[3] / 2
    assert inner[0x9214] == pytest.approx((*centre, place[2], place[3]), abs=3)
    assert inner[0xA214] == pytest.approx(centre, abs=3)
    turned = orientation > 4
    assert (inner[0xA20E], inner[0xA20F]) == ((1000, 2000) if turned else (2000, 1000))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photoshop_resources_move_with_the_pixels(tmp_path: Path, orientation: int) -> None:
    """Resolution, guides and paths are adapted to the image; slices are omitted with a note."""
    image, made = restored(tmp_path, source(orientation), ".jpg")
    place = marked(image)
    resources = image.info["photoshop"]
    turned = orientation > 4
    across, down = (resources[0x03ED][k] for k in ("XResolution", "YResolution"))
    assert (across, down) == ((300, 600) if turned else (600, 300))
    guides = resources[0x0408]
    lines = {guides[20 + 5 * n]: int.from_bytes(guides[16 + 5 * n : 20 + 5 * n], "big") / 32 for n in range(2)}
    edges = {1: (place[1], place[1] + place[3]), 0: (place[0], place[0] + place[2])}
    assert all(min(abs(lines[along] - edge) for edge in edges[along]) <= 3 for along in (0, 1))
    y, x = struct.unpack(">2i", resources[0x07D0][2:10])
    corner = x / (1 << 24) * image.width, y / (1 << 24) * image.height
    assert all(min(abs(corner[axis] - edge) for edge in edges[axis]) <= 3 for axis in (0, 1))
    assert 0x041A not in resources
    assert any("slices" in note for note in made.notes)


def test_a_subject_past_sixteen_bits_is_left_out(tmp_path: Path) -> None:
    """A position that no longer fits its type costs only that tag, with a note."""
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: "1931:05:06 07:08:09", 0x9214: (65000, 5), 0xA434: "Lens"})
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (9, 9, 9)).save(file, "JPEG", exif=exif)
    image, made = restored(tmp_path, file.getvalue(), ".jpg")
    inner = image.getexif().get_ifd(0x8769)
    assert 0x9214 not in inner
    assert (inner[0x9003], inner[0xA434]) == ("1931:05:06 07:08:09", "Lens")
    assert any("subject area" in note for note in made.notes)
