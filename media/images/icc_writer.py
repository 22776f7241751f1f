"""Small ICC profiles for colours that a file describes by numbers: matrix and curve, or a curve of grey. ICC.1:2022 7, 8.3, 10.6, 10.18, 10.31."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Curve = tuple[float, ...]
"""Parameters of a parametric curve: (gamma,) or (gamma, a, b, c, d)."""
SRGB_CURVE: Curve = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
BT709_CURVE: Curve = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def rgb_profile(name: str, primaries: Sequence[float], curve: Curve) -> bytes:
    """Return a display profile from chromaticities (x and y of red, green, blue, white) and one tone curve."""
    matrix = _adapted(primaries)
    tags = {b"wtpt": _xyz(_D50), b"desc": _text(name), b"cprt": _text("no copyright"), b"rTRC": _curve(curve)}
    tags |= {key: _xyz(matrix[:, n]) for n, key in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return _profile(b"RGB ", tags | {b"gTRC": tags[b"rTRC"], b"bTRC": tags[b"rTRC"]})


def grey_profile(name: str, curve: Curve) -> bytes:
    """Return a profile of grey from a tone curve."""
    return _profile(
        b"GRAY", {b"wtpt": _xyz(_D50), b"desc": _text(name), b"cprt": _text("no copyright"), b"kTRC": _curve(curve)}
    )


def _adapted(primaries: Sequence[float]) -> npt.NDArray[np.float64]:
    """RGB to XYZ under D50, by Bradford's adaptation (ICC.1 annex E)."""
    xy = np.array(primaries, float).reshape(4, 2)
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in xy]).T
    white = columns[:, 3]
    matrix = columns[:, :3] * np.linalg.solve(columns[:, :3], white)
    gain = np.diag((_BRADFORD @ np.array(_D50)) / (_BRADFORD @ white))
    adapted: npt.NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ gain @ _BRADFORD @ matrix
    return adapted


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: Sequence[float] | npt.NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(float(value)) for value in values)


def _curve(curve: Curve) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", 0 if len(curve) == 1 else 3, 0) + b"".join(map(_fixed, curve))


def _text(text: str) -> bytes:
    data = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(data), 28) + data


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for key, data in tags.items():
        table += key + struct.pack(">II", start + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"\0" * 4, 0x04400000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + b"".join(_fixed(value) for value in _D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
