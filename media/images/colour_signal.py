"""Colours that a file describes by code points (CICP in PNG, nclx in AVIF and HEIC) or by gamma and primaries (PNG). ITU-T H.273."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from media.images.icc_writer import BT709_CURVE, SRGB_CURVE, Curve, grey_profile, rgb_profile

D65 = (0.3127, 0.3290)
_SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *D65)
PRIMARIES: dict[int, tuple[str, tuple[float, ...]]] = {
    1: ("BT.709", _SRGB),
    4: ("BT.470 M", (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316)),
    5: ("BT.470 BG", (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *D65)),
    6: ("SMPTE 170M", (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, *D65)),
    9: ("BT.2020", (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *D65)),
    11: ("DCI P3", (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.314, 0.351)),
    12: ("Display P3", (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, *D65)),
}
_CURVES: dict[int, Curve] = {
    1: BT709_CURVE, 4: (2.2,), 5: (2.8,), 6: BT709_CURVE, 8: (1.0,), 13: SRGB_CURVE, 14: BT709_CURVE, 15: BT709_CURVE,
}  # fmt: skip
HDR = {16: "PQ", 18: "HLG"}
"""Transfer characteristics of high dynamic range."""
Signal = tuple[int, int]
"""Colour primaries and transfer characteristics as H.273 numbers them; 2 is unspecified."""


def described(signal: Signal) -> str:
    """Return the signal in the field's words."""
    primaries = PRIMARIES[signal[0]][0] if signal[0] in PRIMARIES else f"primaries {signal[0]}"
    return f"{primaries}, {HDR.get(signal[1], 'linear light' if signal[1] == 8 else f'transfer {signal[1]}')}"


def is_plain(signal: Signal) -> bool:
    """Return True for what is taken for sRGB anyway: unspecified, or BT.709 primaries with the curve of sRGB or a television camera."""
    return signal[0] in (0, 1, 2) and signal[1] in (0, 1, 2, 6, 13, 14, 15)


def profile(signal: Signal, grey: bool) -> bytes | None:
    """Return an ICC profile that says the same; None for HDR and for code points without a definition here."""
    curve = _CURVES.get(signal[1] if signal[1] not in (0, 2) else 13)
    primaries = PRIMARIES.get(signal[0] if signal[0] not in (0, 2) else 1)
    if curve is None or primaries is None:
        return None
    return grey_profile(described(signal), curve) if grey else rgb_profile(described(signal), primaries[1], curve)


def png_signal(chunks: dict[bytes, bytes]) -> Signal | None:
    """Return the code points of a PNG's cICP chunk."""
    data = chunks.get(b"cICP", b"")
    return (data[0], data[1]) if len(data) == 4 else None


def png_profile(chunks: dict[bytes, bytes], grey: bool) -> bytes | None:
    """Return a profile for a PNG that states gamma or primaries other than those of sRGB; None where it is to be taken for sRGB."""
    if b"sRGB" in chunks or b"iCCP" in chunks or b"gAMA" not in chunks or len(chunks[b"gAMA"]) != 4:
        return None
    gamma = int.from_bytes(chunks[b"gAMA"], "big") / 100_000
    if not 0.1 <= gamma <= 4:
        return None
    chroma = _SRGB
    if len(chunks.get(b"cHRM", b"")) == 32:
        white_x, white_y, *rest = (value / 100_000 for value in struct.unpack(">8I", chunks[b"cHRM"]))
        if all(0 < value < 1 for value in (white_x, white_y, *rest)):
            chroma = (*rest, white_x, white_y)
    near = abs(gamma - 1 / 2.2) < 0.02 and max(abs(a - b) for a, b in zip(chroma, _SRGB, strict=True)) < 0.005
    if near:
        return None
    curve = SRGB_CURVE if abs(gamma - 1 / 2.2) < 0.02 else (1 / gamma,)
    name = f"gamma {1 / gamma:.3g}"
    return grey_profile(name, curve) if grey else rgb_profile(name, chroma, curve)


_DEEPER = {b"meta": 4, b"iprp": 0, b"ipco": 0}
"""Boxes to look into, and the bytes before their content (ISO/IEC 23008-12, 6.5)."""


def heif_properties(file: BinaryIO) -> dict[bytes, bytes]:
    """Return the first property of each kind in a HEIF file: colr (that with nclx under b"nclx"), clli, mdcv, auxC and others."""
    found: dict[bytes, bytes] = {}
    for kind, data in _boxes(file, 0, file.seek(0, 2), 0):
        found.setdefault(b"nclx" if kind == b"colr" and data[:4] == b"nclx" else kind, data)
    return found


def _boxes(file: BinaryIO, at: int, end: int, depth: int) -> Iterator[tuple[bytes, bytes]]:
    for _ in range(4096):
        if at + 8 > end:
            return
        file.seek(at)
        head = file.read(16)
        size, kind, skip = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1:
            size, skip = int.from_bytes(head[8:16], "big"), 16
        stop = end if size == 0 else min(end, at + size)
        if stop < at + skip:
            return
        if kind in _DEEPER and depth < 4:
            yield from _boxes(file, at + skip + _DEEPER[kind], stop, depth + 1)
        elif depth == 3:
            file.seek(at + skip)
            yield kind, file.read(min(stop - at - skip, 4096))
        at = stop


def monochrome(properties: dict[bytes, bytes]) -> bool:
    """Return True for an AVIF without colour planes (AV1 Codec ISO Media File Format Binding, 2.3.3)."""
    configuration = properties.get(b"av1C", b"")
    return len(configuration) > 2 and bool(configuration[2] & 0x10)


def nclx_signal(properties: dict[bytes, bytes]) -> Signal | None:
    """Return the code points of a HEIF file's nclx property."""
    data = properties.get(b"nclx", b"")
    return (int.from_bytes(data[4:6], "big"), int.from_bytes(data[6:8], "big")) if len(data) >= 10 else None
