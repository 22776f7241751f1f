"""Rules for crops in XMP: Camera Raw's, in shares of the picture, and a panorama's, in pixels of its sphere."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from media.images.rdf import field, name, set_field
from media.images.xmp_rules import Context, Rule, number, numbers, text

CRS, PANO = "http://ns.adobe.com/camera-raw-settings/1.0/", "http://ns.google.com/photos/1.0/panorama/"
_SIDES = [name(CRS, f"Crop{side}") for side in ("Left", "Top", "Right", "Bottom")]
_ANGLE, _UNIT = name(CRS, "CropAngle"), name(CRS, "CropUnit")
_WIDTH, _HEIGHT = name(CRS, "CropWidth"), name(CRS, "CropHeight")


def _tilted(description: Element, context: Context) -> bool:
    """Return True for a crop at an angle to the sides of a picture that is turned: its corners are those of no box any more."""
    return bool(number(field(description, _ANGLE))) and context.geometry.orientation > 1


def crop(description: Element, element: Element | None, key: str, context: Context) -> bool:
    """Turn Camera Raw's crop, in shares: the four sides move together; the angle stays with an upright picture."""
    del element
    if _tilted(description, context):
        return False
    if key != _SIDES[0]:
        return key in (_ANGLE, _UNIT) or field(description, _SIDES[0]) is not None
    values = numbers(description, _SIDES)
    if values is None:
        return False
    left, top, right, bottom = values
    x, y, w, h = context.geometry.share_box((left, top, right - left, bottom - top))
    for one, value in zip(_SIDES, (x, y, x + w, y + h), strict=True):
        set_field(description, one, text(value))
    return True


def crop_size(description: Element, element: Element | None, key: str, context: Context) -> bool:
    """Bring the size of Camera Raw's crop to the result: exchanged with the axes, and multiplied where it is in pixels (CropUnit 0)."""
    del element
    if _tilted(description, context):
        return False
    values = numbers(description, [_WIDTH, _HEIGHT])
    if values is None:
        return not context.geometry.turned and number(field(description, _UNIT)) != 0
    if key == _WIDTH:
        pixels = number(field(description, _UNIT)) == 0
        made = context.geometry.size(*values) if pixels else context.geometry.extent(*values)
        for one, value in zip((_WIDTH, _HEIGHT), made, strict=True):
            set_field(description, one, text(round(value) if pixels else value))
    return True


def panorama(axis: int) -> Rule:
    """Pixels of a panorama's sphere: multiplied; a turned panorama is none any more."""

    def rule(description: Element, element: Element | None, key: str, context: Context) -> bool:
        del element
        value = number(field(description, key))
        if value is None or context.geometry.orientation > 1:
            return False
        set_field(description, key, str(round(value * context.geometry.scale()[axis])))
        return True

    return rule


_CALLED = "Camera Raw's crop"
_SPHERE = (
    ("FullPanoWidthPixels", 0), ("FullPanoHeightPixels", 1), ("CroppedAreaImageWidthPixels", 0), ("CroppedAreaImageHeightPixels", 1),
    ("CroppedAreaLeftPixels", 0), ("CroppedAreaTopPixels", 1), ("LargestValidInteriorRectWidth", 0),
    ("LargestValidInteriorRectHeight", 1), ("LargestValidInteriorRectLeft", 0), ("LargestValidInteriorRectTop", 1),
)  # fmt: skip
TABLE: dict[str, tuple[Rule, str]] = {
    **dict.fromkeys((_WIDTH, _HEIGHT), (crop_size, _CALLED)),
    **dict.fromkeys((*_SIDES, _ANGLE, _UNIT), (crop, _CALLED)),
    **{name(PANO, key): (panorama(axis), "the panorama's geometry") for key, axis in _SPHERE},
}
"""Every property of a crop, its rule, and what it is called when it is left out."""
