"""Checks of results of odd pictures by libraries that are not Respool's: pixels, tags, profiles. An empty text is a passed check."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

Samples = np.ndarray[Any, Any]
Check = Callable[[bytes], str]


def by_pillow(expected: Samples) -> Check:
    """Check that Pillow reads exactly these samples."""

    def check(data: bytes) -> str:
        with Image.open(io.BytesIO(data)) as image:
            found = np.asarray(image)
        found = found.reshape(expected.shape) if found.size == expected.size else found
        return (
            ""
            if found.shape == expected.shape and (found == expected).all()
            else f"Pillow reads other pixels ({found.shape})"
        )

    return check


def by_tifffile(expected: Samples) -> Check:
    """Check that tifffile reads these samples."""

    def check(data: bytes) -> str:
        found = tifffile.imread(io.BytesIO(data))
        same = found.shape == expected.shape and np.abs(found.astype(float) - expected).max() < 1e-4
        return "" if same else f"tifffile reads other pixels ({found.shape} {found.dtype})"

    return check


def by_libpng(expected: Samples) -> Check:
    """Check that libpng reads exactly these samples."""

    def check(data: bytes) -> str:
        found = np.asarray(imagecodecs.png_decode(data))
        return (
            ""
            if found.shape == expected.shape and (found == expected).all()
            else f"libpng reads other pixels ({found.shape} {found.dtype})"
        )

    return check


def near(expected: Samples, allowed: float = 4.0) -> Check:
    """Check that the mean error is small, by Pillow."""

    def check(data: bytes) -> str:
        with Image.open(io.BytesIO(data)) as image:
            found = np.asarray(image.convert("RGB")).astype(float)
        error = float(np.abs(found - expected).mean()) if found.shape == expected.shape else 255.0
        return "" if error < allowed else f"mean error {error:.1f} levels by Pillow"

    return check


def has(*parts: bytes, gone: tuple[bytes, ...] = ()) -> Check:
    """Check for bytes that the result must have, and must not have."""

    def check(data: bytes) -> str:
        wrong = [f"lacks {p!r}" for p in parts if p not in data] + [f"still has {p!r}" for p in gone if p in data]
        return "; ".join(wrong)

    return check


def exiftool(data: bytes) -> dict[str, Any]:
    """Return what exiftool reads in a result; empty where it is missing."""
    program = shutil.which("exiftool")
    if program is None:
        return {}
    answer = subprocess.run([program, "-j", "-n", "-struct", "-G1", "-"], input=data, capture_output=True, check=True)
    found: dict[str, Any] = json.loads(answer.stdout)[0]
    return found


def every(*checks: Check) -> Check:
    """Check by several libraries."""
    return lambda data: "; ".join(filter(None, (check(data) for check in checks)))


def tags(**wanted: object) -> Check:
    """Check by exiftool: `wanted` has values by GROUP__NAME; None means that no tag of that name, or group, is there."""

    def check(data: bytes) -> str:
        found = exiftool(data)
        wrong = []
        for key, value in wanted.items() if found else ():
            group, _, name = key.replace("_dash_", "-").partition("__")
            seen = [v for k, v in found.items() if (k == f"{group}:{name}" if name else k.startswith(group))]
            if seen != ([] if value is None else [value]):
                wrong.append(f"exiftool reads {group}:{name or '*'} {seen}")
        return "; ".join(wrong)

    return check


def private_chunk(kind: bytes, content: bytes) -> Check:
    """Check by Pillow that a PNG has a private chunk."""

    def check(data: bytes) -> str:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            found = [(part[0], part[1]) for part in getattr(image, "private_chunks", [])]
        return "" if (kind, content) in found else f"Pillow finds the private chunks {found}"

    return check


def has_profile(data: bytes) -> str:
    """Check by Pillow that there is a profile."""
    with Image.open(io.BytesIO(data)) as image:
        return "" if image.info.get("icc_profile") else "Pillow finds no profile"


def ends_with_picture(data: bytes) -> str:
    """Check that nothing follows the end of a JPEG, where FFmpeg finds no second picture."""
    return "" if data.endswith(b"\xff\xd9") and data.count(b"\xff\xd8\xff") == 1 else "something follows the picture"
