"""Rules by which properties of XMP about pixels follow the picture: their type, and numbers as XMP writes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from xml.etree.ElementTree import Element

from media.images.geometry import Geometry
from media.images.rdf import field


@dataclass(frozen=True)
class Context:
    """The picture's change, and what was left out so far."""

    geometry: Geometry
    notes: list[str]


Rule = Callable[[Element, Element | None, str, Context], bool]
"""Change one property: (description, element or None, name, context); False to have it left out."""


def number(text: str | None) -> float | None:
    """Return a number, or a rational as XMP writes those of EXIF."""
    try:
        return float(Fraction(text.strip())) if text else None
    except (ValueError, ZeroDivisionError):
        return None


def text(value: float) -> str:
    """Return a number as XMP writes it, with six digits behind the point at most."""
    return f"{value:.6f}".rstrip("0").rstrip(".") or "0"


def numbers(node: Element, keys: list[str]) -> list[float] | None:
    """Return the values of several fields; None where one is missing or no number."""
    found = [number(field(node, key)) for key in keys]
    return None if any(value is None for value in found) else [float(value) for value in found if value is not None]
