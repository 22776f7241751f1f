"""Crops and regions in XMP: Camera Raw's, ACDSee's and a panorama's, under all eight orientations."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from contract.severity import severity
from media.images.geometry import Geometry
from media.images.xmp_geometry import moved

CRS = "http://ns.adobe.com/camera-raw-settings/1.0/"
PANO = "http://ns.google.com/photos/1.0/panorama/"
ACDSEE = "http://ns.acdsee.com/regions/"
AREA = "http://ns.acdsee.com/sType/Area#"
DIMENSIONS = "http://ns.acdsee.com/sType/Dimensions#"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
STORED = (160, 120)
BOX = (0.2, 0.1, 0.5, 0.4)
"""Left, top, right and bottom as shares of the stored picture."""
TURNED = {
    1: (0.2, 0.1, 0.5, 0.4), 2: (0.5, 0.1, 0.8, 0.4), 3: (0.5, 0.6, 0.8, 0.9), 4: (0.2, 0.6, 0.5, 0.9),
    5: (0.1, 0.2, 0.4, 0.5), 6: (0.6, 0.2, 0.9, 0.5), 7: (0.6, 0.5, 0.9, 0.8), 8: (0.1, 0.5, 0.4, 0.8),
}  # fmt: skip
"""The same box in the upright picture, by orientation (Exif 2.32, 4.6.4 A), worked out by hand."""


def packet(attributes: str = "", inner: str = "") -> bytes:
    """Return an XMP packet with attributes of its description and elements in it."""
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" xmlns:crs="{CRS}" xmlns:GPano="{PANO}" '
        f'xmlns:rs="{ACDSEE}" xmlns:area="{AREA}" xmlns:dim="{DIMENSIONS}" {attributes}>{inner}</rdf:Description></rdf:RDF></x:xmpmeta>'
    ).encode()


def geometry(orientation: int, scale: int = 2) -> Geometry:
    """Return the change of a stored picture that is turned upright and enlarged."""
    width, height = STORED[::-1] if orientation > 4 else STORED
    return Geometry(orientation, STORED, (width * scale, height * scale))


def description(xmp: bytes) -> ET.Element:
    """Return the only description of a packet."""
    found = ET.fromstring(xmp[xmp.index(b"<x:xmpmeta") : xmp.rindex(b"</x:xmpmeta>") + 12]).find(
        f".//{{{RDF}}}Description"
    )
    assert found is not None
    return found


def crop(**more: str) -> str:
    """Return Camera Raw's crop as attributes."""
    sides = dict(zip(("CropLeft", "CropTop", "CropRight", "CropBottom"), map(str, BOX), strict=True)) | more
    return " ".join(f'crs:{key}="{value}"' for key, value in sides.items())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_camera_raws_crop_turns_with_the_picture(orientation: int) -> None:
    """The four sides are those of the same area of the upright picture; a size in pixels is exchanged and multiplied."""
    made, notes = moved(
        packet(crop(CropWidth="48", CropHeight="36", CropUnit="0", CropAngle="0")), geometry(orientation)
    )
    found = description(made).attrib
    sides = tuple(float(found[f"{{{CRS}}}Crop{side}"]) for side in ("Left", "Top", "Right", "Bottom"))
    assert sides == pytest.approx(TURNED[orientation])
    size = (float(found[f"{{{CRS}}}CropWidth"]), float(found[f"{{{CRS}}}CropHeight"]))
    assert size == ((72, 96) if orientation > 4 else (96, 72))
    assert notes == []


def test_a_size_in_inches_is_not_multiplied() -> None:
    """A crop's size on paper stays: twice the pixels fill the same inches."""
    made, _ = moved(packet(crop(CropWidth="4", CropHeight="3", CropUnit="1")), geometry(6))
    found = description(made).attrib
    assert (found[f"{{{CRS}}}CropWidth"], found[f"{{{CRS}}}CropHeight"]) == ("3", "4")


def test_a_tilted_crop_of_a_turned_picture_is_a_loss() -> None:
    """A crop at an angle stays with an upright picture; with a turned one it is left out whole, and said."""
    made, notes = moved(packet(crop(CropAngle="3.5")), geometry(1))
    assert description(made).attrib[f"{{{CRS}}}CropAngle"] == "3.5"
    assert notes == []
    made, notes = moved(packet(crop(CropAngle="3.5")), geometry(6))
    assert not [key for key in description(made).attrib if "Crop" in key]
    assert [severity(note) for note in notes] == ["loss"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_acdsees_regions_turn_with_the_picture(orientation: int) -> None:
    """Both areas of a region, and the dimensions, are those of the result."""
    left, top, right, bottom = BOX
    values = {"x": (left + right) / 2, "y": (top + bottom) / 2, "w": right - left, "h": bottom - top}
    fields = " ".join(f'area:{key}="{value}"' for key, value in values.items())
    inner = (
        f'<rs:Regions rdf:parseType="Resource"><rs:AppliedToDimensions dim:w="{STORED[0]}" dim:h="{STORED[1]}" dim:unit="pixel"/>'
        f'<rs:RegionList><rdf:Bag><rdf:li rdf:parseType="Resource"><rs:ALGArea {fields}/><rs:DLYArea {fields}/></rdf:li></rdf:Bag>'
        "</rs:RegionList></rs:Regions>"
    )
    made, notes = moved(packet("", inner), geometry(orientation))
    assert notes == []
    left, top, right, bottom = TURNED[orientation]
    for kind in ("ALGArea", "DLYArea"):
        area = description(made).find(f".//{{{ACDSEE}}}{kind}")
        assert area is not None
        found = [float(area.attrib[f"{{{AREA}}}{key}"]) for key in "xywh"]
        assert found == pytest.approx([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
    size = description(made).find(f".//{{{ACDSEE}}}AppliedToDimensions")
    assert size is not None
    result = geometry(orientation).result
    assert (size.attrib[f"{{{DIMENSIONS}}}w"], size.attrib[f"{{{DIMENSIONS}}}h"]) == tuple(map(str, result))


PANORAMA = 'GPano:FullPanoWidthPixels="400" GPano:FullPanoHeightPixels="200" GPano:CroppedAreaLeftPixels="40" GPano:CroppedAreaTopPixels="30"'


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_panoramas_sphere_is_enlarged_or_left_out(orientation: int) -> None:
    """Pixels of the sphere are multiplied; a turned picture is no part of that sphere, which is a loss."""
    made, notes = moved(packet(PANORAMA), geometry(orientation))
    found = {key.partition("}")[2]: value for key, value in description(made).attrib.items() if PANO in key}
    if orientation == 1:
        assert list(found.values()) == ["800", "400", "80", "60"]
        assert notes == []
    else:
        assert found == {}
        assert [severity(note) for note in notes] == ["loss"]
