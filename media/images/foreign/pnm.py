"""PBM, PGM, PPM and PAM (Netpbm): headers in text, samples of 1 to 16 bits, none of them compressed."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from contract.errors import BadInput, Unsupported
from media.images.foreign.picture import Foreign, widened
from media.images.metadata import Metadata

_MODES = {1: ("grey", False), 2: ("grey", True), 3: ("rgb", False), 4: ("rgb", True)}


def read(stream: BinaryIO, name: str, pixels: bool) -> Foreign:
    """Read a Netpbm file; a maxval that is no power of two less one is scaled to the next depth. Raises BadInput naming `name`."""
    kind = stream.read(2)
    comments: list[bytes] = []
    if kind == b"P7":
        width, height, channels, top = _pam(stream, name)
    else:
        channels = 3 if kind in (b"P3", b"P6") else 1
        width, height = _number(stream, comments), _number(stream, comments)
        top = 1 if kind in (b"P1", b"P4") else _number(stream, comments)
    if not (width and height and 0 < top < 65536) or channels not in _MODES:
        raise Unsupported(
            f"{name} is a Netpbm file of {width} x {height} x {channels} samples up to {top}; convert it to TIFF first."
        )
    mode, alpha = _MODES[channels]
    depth = 1 if top == 1 else 8 if top < 256 else 16
    samples = _samples(stream, kind, (height, width, channels), top, name) if pixels else None
    notes = () if top in (1, 255, 65535) else (f"samples up to {top} were scaled to {depth} bits",)
    metadata = Metadata(comments=tuple(comments))
    return Foreign(width, height, mode, alpha, depth, True, metadata=metadata, notes=notes, samples=samples)  # type: ignore[arg-type]  # one of the two literals


def _number(stream: BinaryIO, comments: list[bytes]) -> int:
    """Return the next number of a header, past white space and comments; consumes the one white byte after it."""
    digits = b""
    while len(byte := stream.read(1)) == 1:
        if byte == b"#":
            comments.append(stream.readline(65_000).strip())
        elif byte.isdigit():
            digits += byte
        elif digits or not byte.isspace():
            break
    return int(digits[:9] or b"0")


def _pam(stream: BinaryIO, name: str) -> tuple[int, int, int, int]:
    found: dict[bytes, bytes] = {}
    for _ in range(100):
        line = stream.readline(4096).strip()
        if line == b"ENDHDR":
            values = [int(found.get(key, b"0")) for key in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")]
            return values[0], values[1], values[2], values[3]
        key, _, value = line.partition(b" ")
        found[key] = value
    raise BadInput(f"{name} has a PAM header without an end; copy it again from where it came.")


def _samples(stream: BinaryIO, kind: bytes, shape: tuple[int, int, int], top: int, name: str) -> npt.NDArray[Any]:
    height, width, channels = shape
    count = height * width * channels
    if kind == b"P1":
        digits = np.frombuffer(stream.read(), np.uint8)
        found = (digits[(digits == 48) | (digits == 49)] - 48).astype(np.uint8)
    elif kind in (b"P2", b"P3"):
        found = np.array(stream.read().split(), np.uint32)
    elif kind == b"P4":
        data = np.frombuffer(stream.read(height * (-(-width // 8))), np.uint8)
        found = np.unpackbits(data).reshape(-1, -(-width // 8) * 8)[:, :width].reshape(-1)
    else:
        wide = ">u2" if top > 255 else "u1"
        found = np.frombuffer(stream.read(count * np.dtype(wide).itemsize), wide)
    if found.size < count:
        raise BadInput(f"{name} ends after {found.size} of {count} samples; copy it again from where it came.")
    samples = found[:count].reshape(shape)
    if kind in (b"P1", b"P4"):
        return widened(1 - samples, 1)  # 1 is black
    white = 255 if top < 256 else 65535
    scaled = samples if top == white else (samples.astype(np.uint32).clip(0, top) * white + top // 2) // top
    return widened(scaled, 8 if white == 255 else 16)
