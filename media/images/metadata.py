"""Metadata of a picture, in one form for every file format."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from contract.severity import Loss
from media.images.tiff import Directory

CENTIMETRES_PER_INCH = Fraction(254, 100)


@dataclass(frozen=True)
class Density:
    """Pixels per unit, horizontally and vertically. ``none`` states the shape of a pixel only."""

    x: Fraction
    y: Fraction
    unit: str = "inch"
    """inch, cm, or none."""

    def per_inch(self) -> tuple[Fraction, Fraction]:
        """Return the density in pixels per inch."""
        factor = CENTIMETRES_PER_INCH if self.unit == "cm" else Fraction(1)
        return self.x * factor, self.y * factor

    def scaled(self, x: Fraction, y: Fraction) -> Density:
        """Return the density at which `x` and `y` times as many pixels fill the same paper."""
        return Density(self.x * x, self.y * y, self.unit)

    def turned(self) -> Density:
        """Return the density of a picture turned by 90 degrees."""
        return Density(self.y, self.x, self.unit)


@dataclass(frozen=True)
class Metadata:
    """Metadata blocks as raw bytes, without any container's framing. None and empty mean that the source has none.

    `exif` is a TIFF structure ("II*" or "MM*" first), `xmp` a packet, `iptc` IIM records, `photoshop` image
    resource blocks ("8BIM") other than IPTC. `colour` are a PNG's own chunks about colour, `texts` its text
    chunks, as (type, data); `comments` those of a JPEG. `page` is a TIFF's directory. `others` are
    segments of a JPEG or chunks of a PNG that are carried as they are into the same format. `meaning` is the profile that samples are in where
    `icc` does not say it.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    photoshop: bytes | None = None
    density: Density | None = None
    comments: tuple[bytes, ...] = ()
    colour: tuple[tuple[bytes, bytes], ...] = ()
    texts: tuple[tuple[bytes, bytes], ...] = ()
    page: Directory | None = None
    others: tuple[tuple[int | bytes, bytes], ...] = ()
    meaning: bytes | None = None
    notes: tuple[str, ...] = field(default=())
    """Sentences for the user about metadata that could not be read."""


IPTC_RESOURCE = 0x0404
_THUMBNAILS = frozenset({0x0409, 0x040C})


def split_photoshop(block: bytes) -> tuple[bytes | None, bytes | None, list[str]]:
    """Photoshop image resources to (IPTC records, the other resources), and what was left out.

    Thumbnails are left out: they show the picture before. Adobe Photoshop File Formats, "Image Resource Blocks".
    """
    iptc, rest, notes = None, b"", []
    at = 0
    while at + 12 <= len(block) and block[at : at + 4] == b"8BIM":
        resource = int.from_bytes(block[at + 4 : at + 6], "big")
        named = at + 6 + (block[at + 6] + 2) // 2 * 2
        size = int.from_bytes(block[named : named + 4], "big")
        end = named + 4 + size + size % 2
        if resource == IPTC_RESOURCE:
            iptc = block[named + 4 : named + 4 + size]
        elif resource in _THUMBNAILS:
            notes.append("Photoshop's thumbnail was left out: it shows the picture before")
        else:
            rest += block[at:end]
        at = end
    if at < len(block) and block[at:].strip(b"\0"):
        notes.append(Loss("the Photoshop resources are broken from one point on; the rest of them was left out"))
    return iptc, rest or None, notes


def join_photoshop(iptc: bytes | None, rest: bytes | None) -> bytes | None:
    """Image resources with IPTC records among them; None when there are none."""
    block = rest or b""
    if len(block) % 2:
        block += b"\0"
    if iptc is not None:
        size = len(iptc).to_bytes(4, "big")
        block += b"8BIM" + IPTC_RESOURCE.to_bytes(2, "big") + b"\0\0" + size + iptc + b"\0" * (len(iptc) % 2)
    return block or None
