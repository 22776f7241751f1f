"""Conversion of pixels by their ICC profile to sRGB, on which networks were trained, and back without loss.

Matrix and curve profiles, and curves of grey, are computed in float32 on the worker's device: colours outside sRGB
become values outside [0, 1] and are not clipped. Profiles with tables are converted by LittleCMS. Source: ICC.1:2010, sections
8.3 (matrix model), 10.5 (curveType), 10.15 (parametricCurveType), annex F (from device to connection space).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import torch

Curve = Callable[[torch.Tensor], torch.Tensor]

_TO_XYZ = torch.tensor(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]],
    dtype=torch.float64,
)
"""Linear sRGB to XYZ under D50, adapted by Bradford (IEC 61966-2-1 primaries; Lindbloom's table)."""
NEAR = 1 / 1020
"""A profile whose colours differ from sRGB's by less than this, a quarter of an 8-bit level, is treated as sRGB."""
_MOST_TAGS = 128


@dataclass(frozen=True)
class Interpretation:
    """The conversions between a profile's encoded values and extended sRGB, for 1 x C x H x W float32 (C = 1 or 3)."""

    to_srgb: Curve
    from_srgb: Curve


def interpret(profile: bytes, colours: int) -> tuple[Interpretation | None, str]:
    """Return the conversions of pixels of `colours` channels by `profile`, or None with a reason to take them as sRGB.

    The reason is empty if the profile is sRGB, or grey with nearly sRGB's curve; it is "tables" for a profile with tables.
    """
    try:
        tags = _tags(profile)
        space = profile[16:20]
        if profile[36:40] != b"acsp":
            return None, "the ICC profile is invalid; pixels were taken as sRGB"
        if (space, colours) not in ((b"RGB ", 3), (b"GRAY", 1)):
            return (
                None,
                f"the ICC profile is for {space.decode('latin-1').strip()}, not for these pixels; they were taken as sRGB",
            )
        if colours == 1:
            found = _grey(tags)
        elif {b"rTRC", b"gTRC", b"bTRC", b"rXYZ", b"gXYZ", b"bXYZ"} <= tags.keys() and b"A2B0" not in tags:
            found = _matrix(tags)
        else:
            return None, "tables"
    except (struct.error, ValueError, IndexError):
        return None, "the ICC profile is invalid; pixels were taken as sRGB"
    return (None, "") if _is_srgb(found, colours) else (found, "")


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    if count > _MOST_TAGS:
        raise ValueError(count)
    tags = {}
    for n in range(count):
        name, at, size = struct.unpack_from(">4sII", profile, 132 + 12 * n)
        tags[name] = profile[at : at + size]
    return tags


def _grey(tags: dict[bytes, bytes]) -> Interpretation:
    if b"kTRC" not in tags:
        raise ValueError("no curve")
    forward, backward = _curve(tags[b"kTRC"])
    return Interpretation(lambda x: _encode(forward(x)), lambda x: backward(_decode(x)))


def _matrix(tags: dict[bytes, bytes]) -> Interpretation:
    columns = [[v / 65536 for v in struct.unpack_from(">3i", tags[c + b"XYZ"], 8)] for c in (b"r", b"g", b"b")]
    device = torch.tensor(columns, dtype=torch.float64).T
    if abs(float(torch.linalg.det(device))) < 1e-6:
        raise ValueError("the primaries lie on a line")
    to_linear = (torch.linalg.inv(_TO_XYZ) @ device).float()
    from_linear = (torch.linalg.inv(device) @ _TO_XYZ).float()
    curves = [_curve(tags[c + b"TRC"]) for c in (b"r", b"g", b"b")]

    def forward(x: torch.Tensor) -> torch.Tensor:
        linear = torch.cat([curves[c][0](x[:, c : c + 1]) for c in range(3)], 1)
        return _encode(_mix(to_linear, linear))

    def backward(x: torch.Tensor) -> torch.Tensor:
        linear = _mix(from_linear, _decode(x))
        return torch.cat([curves[c][1](linear[:, c : c + 1]) for c in range(3)], 1)

    return Interpretation(forward, backward)


def _mix(matrix: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.einsum("ij,njhw->nihw", matrix.to(x.device), x)


def _encode(x: torch.Tensor) -> torch.Tensor:
    """Convert linear light to sRGB's curve, continued symmetrically below zero and by its power above one."""
    size = x.abs()
    return torch.sign(x) * torch.where(
        size <= 0.0031308, 12.92 * size, 1.055 * size.clamp(min=1e-9) ** (1 / 2.4) - 0.055
    )


def _decode(x: torch.Tensor) -> torch.Tensor:
    size = x.abs()
    return torch.sign(x) * torch.where(size <= 0.04045, size / 12.92, ((size + 0.055) / 1.055) ** 2.4)


def _curve(data: bytes) -> tuple[Curve, Curve]:
    """Return a tone curve, encoded to linear, and its inverse, both odd about zero; raise ValueError if it has no inverse."""
    kind = data[:4]
    if kind == b"para":
        (shape,) = struct.unpack_from(">H", data, 8)
        values = [v / 65536 for v in struct.unpack_from(f">{(1, 3, 4, 5, 7)[shape]}i", data, 12)]
        return _parametric(shape, values)
    if kind != b"curv":
        raise ValueError(kind)
    (count,) = struct.unpack_from(">I", data, 8)
    if count == 0:
        return _power(1.0)
    if count == 1:
        return _power(struct.unpack_from(">H", data, 12)[0] / 256)
    if count > 65536:
        raise ValueError(count)
    return _table(torch.tensor(struct.unpack_from(f">{count}H", data, 12), dtype=torch.float64) / 65535)


def _power(gamma: float) -> tuple[Curve, Curve]:
    if gamma <= 0:
        raise ValueError(gamma)
    return (
        lambda x: torch.sign(x) * x.abs() ** gamma,
        lambda x: torch.sign(x) * x.abs() ** (1 / gamma),
    )


def _parametric(shape: int, values: list[float]) -> tuple[Curve, Curve]:
    """Return Y = (aX + b)^g + e for X >= d, else cX + f, the general form of all five shapes, and its inverse."""
    g, a, b, c, d, e, f = 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if shape == 0:
        (g,) = values
    elif shape in (1, 2):
        g, a, b = values[:3]
        e = f = values[3] if shape == 2 else 0.0
        d = -b / a
    else:
        g, a, b, c, d = values[:5]
        e, f = values[5:] if shape == 4 else (0.0, 0.0)
    if g <= 0 or a <= 0:
        raise ValueError(values)
    knee = (max(a * d + b, 0.0)) ** g + e if d > 0 else e

    def forward(x: torch.Tensor) -> torch.Tensor:
        size = x.abs()
        return torch.sign(x) * torch.where(size >= d, (a * size + b).clamp(min=0) ** g + e, c * size + f)

    def backward(y: torch.Tensor) -> torch.Tensor:
        size = y.abs()
        upper = ((size - e).clamp(min=0) ** (1 / g) - b) / a
        lower = (size - f) / c if c > 0 else torch.zeros_like(size)
        return torch.sign(y) * torch.where(size >= knee, upper, lower).clamp(min=0)

    return forward, backward


def _table(values: torch.Tensor) -> tuple[Curve, Curve]:
    """Return the linear interpolation between samples, continued beyond white by the last slope, and its inverse."""
    steps = values.diff()
    if bool((steps < 0).any()) or float(values[-1]) <= float(values[0]):
        raise ValueError("the curve decreases")
    last = len(values) - 1
    grid = torch.linspace(0, 1, last + 1, dtype=torch.float64)
    # A flat piece has no inverse; its first sample represents it.
    rising = torch.cat([torch.tensor([True]), steps > 0])
    ys, xs = values[rising].float(), grid[rising].float()

    def forward(x: torch.Tensor) -> torch.Tensor:
        return torch.sign(x) * _between(grid.float().to(x.device), values.float().to(x.device), x.abs())

    def backward(y: torch.Tensor) -> torch.Tensor:
        return torch.sign(y) * _between(ys.to(y.device), xs.to(y.device), y.abs()).clamp(min=0)

    return forward, backward


def _between(xs: torch.Tensor, ys: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    upper = torch.searchsorted(xs, x.contiguous()).clamp(1, len(xs) - 1)
    lower = upper - 1
    slope = (ys[upper] - ys[lower]) / (xs[upper] - xs[lower])
    return ys[lower] + (x - xs[lower]) * slope


def _is_srgb(found: Interpretation, colours: int) -> bool:
    levels = torch.linspace(0, 1, 17)
    grid = torch.stack(torch.meshgrid(*[levels] * colours, indexing="ij")).reshape(1, colours, 1, -1)
    return bool((found.to_srgb(grid) - grid).abs().max() < NEAR)
