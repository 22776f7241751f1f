"""Properties of XMP that are about pixels: one table of what is turned and scaled with the picture, and what is left out with a note."""

from __future__ import annotations

from fractions import Fraction
from xml.etree.ElementTree import Element

from contract.severity import Loss
from media.images import xmp_crops
from media.images.geometry import Geometry
from media.images.rdf import Packet, field, items, name, set_field, struct
from media.images.xmp_rules import Context, Rule, number, numbers, text

MWG, AREA, DIMENSIONS = (
    "http://www.metadataworkinggroup.com/schemas/regions/",
    "http://ns.adobe.com/xmp/sType/Area#",
    "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
)
ACDSEE, ACDSEE_AREA, ACDSEE_DIM = (
    "http://ns.acdsee.com/regions/",
    "http://ns.acdsee.com/sType/Area#",
    "http://ns.acdsee.com/sType/Dimensions#",
)
MP, MPRI, MPREG = (
    "http://ns.microsoft.com/photo/1.2/",
    "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
    "http://ns.microsoft.com/photo/1.2/t/Region#",
)
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
EXIF, TIFF = "http://ns.adobe.com/exif/1.0/", "http://ns.adobe.com/tiff/1.0/"
XMP = "http://ns.adobe.com/xap/1.0/"
THUMBNAILS = "thumbnails"
"""Names of properties with copies of the earlier picture, whose removal is no loss."""


def _regions(namespace: str, area_ns: str, size_ns: str, areas: tuple[str, ...]) -> Rule:
    """Regions of the Metadata Working Group's kind: boxes by their centre, as shares of the stored picture."""

    def rule(description: Element, element: Element | None, key: str, context: Context) -> bool:
        del description, key
        if element is None:
            return False
        size = struct(element, name(namespace, "AppliedToDimensions"))
        if size is not None:
            for axis, value in zip(("w", "h"), context.geometry.result, strict=True):
                set_field(size, name(size_ns, axis), str(value))
        listed = struct(element, name(namespace, "RegionList"))
        for region in items(listed) if listed is not None else []:
            for area_name in areas:
                area = struct(region, name(namespace, area_name))
                if area is not None and not _area(area, area_ns, context.geometry):
                    return False
        return True

    return rule


def _area(area: Element, namespace: str, geometry: Geometry) -> bool:
    """Turn one area in place; False for one that cannot be read."""
    keys = [name(namespace, key) for key in ("x", "y", "w", "h")]
    centre = numbers(area, keys[:2])
    if centre is None:
        return False
    pixels = field(area, name(namespace, "unit")) == "pixel"
    moved = geometry.point(*centre) if pixels else geometry.share(*centre)
    extent = numbers(area, keys[2:])
    values = list(moved)
    if extent is not None:
        values += geometry.size(*extent) if pixels else geometry.extent(*extent)
    for key, value in zip(keys, values, strict=False):
        set_field(area, key, str(round(value)) if pixels else text(value))
    return True


def _microsoft(description: Element, element: Element | None, key: str, context: Context) -> bool:
    """Microsoft Photo regions: "left, top, width, height" as shares."""
    del description, key
    regions = struct(element, name(MPRI, "Regions")) if element is not None else None
    if regions is None:
        return False
    for region in items(regions):
        stated = field(region, name(MPREG, "Rectangle"))
        if not stated:
            continue
        parts = [number(part) for part in stated.split(",")]
        if len(parts) != 4 or any(part is None for part in parts):
            return False
        left, top, width, height = (float(part or 0) for part in parts)
        box = context.geometry.share_box((left, top, width, height))
        set_field(region, name(MPREG, "Rectangle"), ", ".join(text(value) for value in box))
    return True


def _iptc(description: Element, element: Element | None, key: str, context: Context) -> bool:
    """IPTC image regions: rectangles, circles and polygons, in pixels or as shares."""
    del description, key
    for region in items(element) if element is not None else []:
        boundary = struct(region, name(IPTC, "RegionBoundary"))
        if boundary is None:
            continue
        pixels = field(boundary, name(IPTC, "rbUnit")) == "pixel"
        point = context.geometry.point if pixels else context.geometry.share
        places = [boundary]
        corners = struct(boundary, name(IPTC, "rbVertices"))
        places += items(corners) if corners is not None else []
        box = [name(IPTC, f"rb{k}") for k in ("X", "Y", "W", "H")]
        whole = numbers(boundary, box)
        if whole is not None:
            turn = context.geometry.box if pixels else context.geometry.share_box
            _set(boundary, box, turn((whole[0], whole[1], whole[2], whole[3])), pixels)
            continue
        for place in places:
            at = numbers(place, box[:2])
            if at is not None:
                _set(place, box[:2], point(*at), pixels)
        radius = numbers(boundary, [name(IPTC, "rbRx")])
        if radius is not None:  # a share of the width
            across = context.geometry.size(radius[0], radius[0])[0] if pixels else radius[0]
            if not pixels and context.geometry.turned:
                across = radius[0] * context.geometry.stored[0] / context.geometry.stored[1]
            _set(boundary, [name(IPTC, "rbRx")], (across,), pixels)
    return True


def _set(node: Element, keys: list[str], values: tuple[float, ...], pixels: bool) -> None:
    for key, value in zip(keys, values, strict=True):
        set_field(node, key, str(round(value)) if pixels else text(value))


def _subject(description: Element, element: Element | None, key: str, context: Context) -> bool:
    """exif:SubjectArea and SubjectLocation: a point, a circle or a box in stored pixels, by its centre."""
    del description, key
    members = items(element) if element is not None else []
    values = [number(member.text) for member in members]
    if len(values) not in (2, 3, 4) or any(value is None for value in values):
        return False
    moved = subject([float(value or 0) for value in values], context.geometry)
    for member, value in zip(members, moved, strict=True):
        member.text = str(value)
    return True


def subject(values: list[float], geometry: Geometry) -> list[int]:
    """Exif's subject area: x, y; x, y, diameter; or x, y, width, height."""
    moved = list(geometry.point(values[0], values[1]))
    if len(values) == 3:
        moved.append(values[2] * geometry.scale()[0])
    elif len(values) == 4:
        moved += geometry.size(values[2], values[3])
    return [round(value) for value in moved]


def _pair(namespace: str, first: str, second: str) -> dict[str, Rule]:
    """Two numbers for the two axes, such as resolutions: exchanged with the axes, and multiplied."""

    def rule(description: Element, element: Element | None, key: str, context: Context) -> bool:
        del element
        if key != name(namespace, first):
            return field(description, name(namespace, first)) is not None or _single(description, key, context)
        keys = [name(namespace, first), name(namespace, second)]
        values = numbers(description, keys)
        if values is None:
            return _single(description, key, context)
        width, height = context.geometry.extent(*values)
        across, down = context.geometry.scale()
        for one, value in zip(keys, (width * across, height * down), strict=True):
            exact = Fraction(value).limit_denominator(10_000)
            set_field(description, one, f"{exact.numerator}/{exact.denominator}")
        return True

    return {name(namespace, first): rule, name(namespace, second): rule}


def _single(description: Element, key: str, context: Context) -> bool:
    """One axis alone is scaled where the picture is not turned by a quarter."""
    value = number(field(description, key))
    if value is None or context.geometry.turned:
        return False
    exact = Fraction(value * context.geometry.scale()[0]).limit_denominator(10_000)
    set_field(description, key, f"{exact.numerator}/{exact.denominator}")
    return True


def _size(axis: int) -> Rule:
    def rule(description: Element, element: Element | None, key: str, context: Context) -> bool:
        del element
        set_field(description, key, str(context.geometry.result[axis]))
        return True

    return rule


def _upright(description: Element, element: Element | None, key: str, context: Context) -> bool:
    del element, context
    set_field(description, key, "1")
    return True


def _never(description: Element, element: Element | None, key: str, context: Context) -> bool:
    del description, element, key, context
    return False


TABLE: dict[str, tuple[Rule, str]] = {
    name(MWG, "Regions"): (_regions(MWG, AREA, DIMENSIONS, ("Area",)), "named regions (MWG)"),
    name(ACDSEE, "Regions"): (_regions(ACDSEE, ACDSEE_AREA, ACDSEE_DIM, ("ALGArea", "DLYArea")), "named regions (ACDSee)"),
    name(MP, "RegionInfo"): (_microsoft, "named regions (Microsoft)"),
    name(IPTC, "ImageRegion"): (_iptc, "image regions (IPTC)"),
    name(EXIF, "SubjectArea"): (_subject, "the subject's area"),
    name(EXIF, "SubjectLocation"): (_subject, "the subject's place"),
    **{key: (rule, "the focal plane's resolution") for key, rule in _pair(EXIF, "FocalPlaneXResolution", "FocalPlaneYResolution").items()},
    **{key: (rule, "the resolution") for key, rule in _pair(TIFF, "XResolution", "YResolution").items()},
    name(TIFF, "Orientation"): (_upright, "the orientation"),
    name(TIFF, "ImageWidth"): (_size(0), "the width"),
    name(TIFF, "ImageLength"): (_size(1), "the height"),
    name(EXIF, "PixelXDimension"): (_size(0), "the width"),
    name(EXIF, "PixelYDimension"): (_size(1), "the height"),
    **xmp_crops.TABLE,
    name(XMP, "Thumbnails"): (_never, THUMBNAILS),
}  # fmt: skip
"""Every property that is about pixels, the rule that moves it, and what it is called when it is left out."""


ANNOUNCED: dict[str, str] = {
    "http://ns.google.com/photos/1.0/camera/": "what announces a motion photo (GCamera)",
    "http://ns.google.com/photos/1.0/container/": "the list of further pictures in the file (Container)",
    "http://ns.google.com/photos/1.0/container/item/": "the list of further pictures in the file (Container)",
    "http://ns.adobe.com/hdr-gain-map/1.0/": "the gain map's description",
    "http://ns.apple.com/HDRGainMap/1.0/": "the gain map's description (Apple)",
    "http://ns.apple.com/pixeldatainfo/1.0/": "the auxiliary picture's description (Apple)",
    "http://ns.apple.com/depthData/1.0/": "the depth map's description (Apple)",
    "http://ns.google.com/photos/1.0/depthmap/": "the depth map (GDepth)",
    "http://ns.google.com/photos/1.0/image/": "a further picture (GImage)",
    "http://ns.google.com/photos/1.0/audio/": "the sound (GAudio)",
    "http://ns.google.com/photos/1.0/focus/": "the focus map (GFocus)",
    "http://ns.google.com/photos/dd/1.0/device/": "dynamic depth (Device)",
}
"""Namespaces of properties that announce or hold what a result does not carry: further pictures, films, maps."""
_MANIFEST = name("http://purl.org/dc/terms/", "provenance")


def _rule(key: str) -> tuple[Rule, str] | None:
    found = TABLE.get(key)
    if found is not None:
        return found
    called = ANNOUNCED.get(key[1:].partition("}")[0])
    if called:
        return _never, called
    return (_never, "the link to a C2PA manifest") if key == _MANIFEST else None


def moved(packet: bytes, geometry: Geometry) -> tuple[bytes, list[str]]:
    """`packet` with everything of `TABLE` brought to the result, and notes on what was left out. Unchanged when nothing is about pixels.

    Raises ValueError for a packet that is not well-formed.
    """
    tree = Packet(packet)
    context = Context(geometry, [])
    touched = False
    for description, element, key in tree.properties():
        found = _rule(key)
        if found is None:
            continue
        rule, called = found
        touched = True
        if rule(description, element, key, context):
            continue
        if element is None:
            description.attrib.pop(key, None)
        elif element in list(description):
            description.remove(element)
        note = f"XMP: {called}: left out, because it is of the picture before"
        note = note if called == THUMBNAILS else Loss(note)
        if note not in context.notes:
            context.notes.append(note)
    return (tree.encode() if touched else packet), context.notes
