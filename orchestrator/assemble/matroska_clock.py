"""A Matroska file with a finer clock than FFmpeg's muxer writes.

The muxer counts milliseconds. A film with more frames a second is given to it slowed down, so that each of its
milliseconds stands for one finer tick; afterwards the length of a tick is written into the header (RFC 9559 5.1.2.9).
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

from contract.errors import VerifyError

if TYPE_CHECKING:
    from pathlib import Path

SCALE = b"\x2a\xd7\xb1\x83"
"""TimestampScale with a value of three bytes."""
DURATION = re.compile(rb"(\x45\xa3\x88DURATION\x44\x87\x9e)(\d\d):(\d\d):(\d\d)\.(\d{9})\0\0")
"""The muxer's tag that says how long a track lasts."""
HEAD = 8 << 20
"""Bytes from a file's start within which its header and the tags before its first cluster must lie."""


def slowdown(tick: Fraction) -> int:
    """Return by how much times are multiplied for a clock of `tick` seconds."""
    return int(Fraction(1, 1000) / tick)


def set_tick(path: Path, tick: Fraction) -> None:
    """Tell the header of `path`, written without checksums from times slowed down, how long a tick is.

    Raises VerifyError when the header is not laid out as FFmpeg does it.
    """
    with path.open("r+b") as file:
        head = file.read(HEAD)
        at = head.find(SCALE + (1_000_000).to_bytes(3, "big"))
        if at < 0:
            raise VerifyError("the Matroska header is not laid out as expected, so its clock cannot be set.")
        file.seek(at + len(SCALE))
        file.write(int(tick * 10**9).to_bytes(3, "big"))
        for found in DURATION.finditer(head):
            hours, minutes, seconds, nanos = (int(group) for group in found.groups()[1:])
            total = (((hours * 60 + minutes) * 60 + seconds) * 10**9 + nanos) // slowdown(tick)
            whole, nanos = divmod(total, 10**9)
            text = f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}.{nanos:09d}"
            file.seek(found.start() + len(found.group(1)))
            file.write(text.encode())
