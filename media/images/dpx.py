"""The header of a DPX file (SMPTE ST 268-1): what a scanner says of its picture, and whether FFmpeg's decoder obeys it."""

from __future__ import annotations

import struct

from msgspec import Struct

from contract.errors import BadInput, Unsupported
from contract.job import Positive

MAGIC = {b"SDPX": ">", b"XPDS": "<"}
"""The first four bytes, and the byte order that they mean."""
_ORIENTATION, _DESCRIPTOR = 768, 800
_HEADER = 1664
"""Bytes of the generic headers, which every file has."""
_TRANSFER = {1: "printing density", 2: "linear light", 3: "logarithmic"}


class Dpx(Struct, frozen=True):
    """The shape of a DPX picture. `transfer` says what its code values mean where they are not meant for a screen."""

    width: Positive
    height: Positive
    depth: Positive
    transfer: str = ""


def is_dpx(head: bytes) -> bool:
    """Return True when a file that begins with `head` is a DPX file."""
    return head[:4] in MAGIC


def read_header(data: bytes, name: str) -> Dpx:
    """Return the header of the DPX file `data`, called `name` in messages.

    Raises BadInput when it is cut off or absurd, Unsupported for what FFmpeg's decoder would show without a word in
    another way than it is meant: turned pictures, more than one element.
    """
    order = MAGIC.get(data[:4])
    if order is None or len(data) < _HEADER:
        raise BadInput(f"{name} ends within its DPX header ({len(data)} bytes); copy it again from where it came.")
    orientation, elements, width, height = struct.unpack_from(f"{order}HHII", data, _ORIENTATION)
    descriptor, transfer, _, depth = struct.unpack_from("4B", data, _DESCRIPTOR)
    if not 0 < width <= 1 << 16 or not 0 < height <= 1 << 16:
        raise BadInput(f"{name} says that it is {width} x {height} pixels; copy it again from where it came.")
    if orientation not in (0, 0xFFFF):
        raise Unsupported(
            f"{name} says that its lines run in another direction ({orientation}); turn it upright first."
        )
    if elements != 1:
        raise Unsupported(f"{name} holds {elements} separate image elements; write it with one, of grey or RGB.")
    if depth not in (8, 10, 12, 16) or descriptor not in (6, 50):
        raise Unsupported(
            f"{name} holds {depth}-bit samples of kind {descriptor}; write grey (6) or RGB (50) in 8, 10, 12 or 16 bits."
        )
    return Dpx(width, height, depth, _TRANSFER.get(transfer, ""))
