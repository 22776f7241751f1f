"""Application segments of a JPEG beyond the standard ones: what is carried as it is, and what is left out with a note."""

from __future__ import annotations

from dataclasses import replace

from contract.severity import Loss
from media.images.metadata import Metadata

_OF_THE_PIXELS: tuple[tuple[int, bytes, str], ...] = (
    (0xE0, b"JFXX", "the JFIF thumbnail was left out: it shows the picture before"),
    (0xE1, b"FLIR", Loss("FLIR's thermal data were left out: they are of the picture before")),
    (0xE2, b"FPXR", Loss("FlashPix's data were left out: they are of the picture before")),
    (0xE2, b"urn:iso:std:iso:ts:21496", Loss("the gain map's description was left out: it is of the picture before")),
    (0xE3, b"_JPSJPS", Loss("the description of the stereo pair (JPS) was left out")),
    (0xEA, b"AROT", Loss("HDR data (AROT) were left out: they are of the picture before")),
    (0xEB, b"HDR_RI", Loss("HDR data (JPEG-HDR) were left out: they are of the picture before")),
)
"""Segments that describe the pixels before."""
_OF_THE_ENCODER: tuple[tuple[int, bytes], ...] = (
    (0xE0, b"JFIF"),
    (0xE0, b"AVI1"),
    (0xEC, b"Ducky"),
    (0xED, b"Adobe_CM"),
    (0xEE, b"Adobe"),
)
"""Segments that say how the source was encoded: the result's encoder writes its own."""
_CARRIED = 1 << 20
"""Bytes of unknown segments that are carried."""


def other_segment(found: Metadata, marker: int, data: bytes) -> Metadata:
    """Add an application segment that no reader of metadata knows, or a note on why it is left out."""
    if any(marker == m and data.startswith(start) for m, start in _OF_THE_ENCODER):
        return found
    name = f"APP{marker - 0xE0}"
    for known, start, note in _OF_THE_PIXELS:
        if marker == known and data.startswith(start):
            return _noted(found, note)
    if marker == 0xEB and data.startswith(b"JP"):
        kind = (
            "the C2PA manifest was left out: it signs the pixels before"
            if _has_c2pa(data)
            else "JUMBF boxes were left out"
        )
        return _noted(found, Loss(kind) if not _announced(found) else "")
    if sum(len(body) for _, body in found.others) + len(data) > _CARRIED:
        return _noted(
            found, Loss(f"a segment {name} of {len(data)} bytes was left out: it and others before it are too long")
        )
    label = data[:16].split(b"\0")[0].decode("latin-1").strip()
    label = "".join(c if c.isprintable() else "?" for c in label)
    found = replace(found, others=(*found.others, (marker, data)))
    return _noted(found, f"the segment {name} {label!r} was carried as it is")


def _has_c2pa(data: bytes) -> bool:
    return b"c2pa" in data[:4096]


def _announced(found: Metadata) -> bool:
    """Return True when a manifest's first segment was met before: the following ones continue it."""
    return any("C2PA" in note or "JUMBF" in note for note in found.notes)


def _noted(found: Metadata, note: str) -> Metadata:
    return replace(found, notes=(*found.notes, note)) if note and note not in found.notes else found
