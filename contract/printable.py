"""Text from strangers, made safe to print: names and metadata of sources reach terminals, logs and Flower."""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Everything that moves a cursor, changes colours, ends a line or reorders text: C0 but tab and newline, DEL, C1, line and
paragraph separators, the bidirectional controls of Unicode UAX #9, and surrogates, which stand for bytes that are not UTF-8."""


def printable(text: str) -> str:
    r"""Return `text` with each control character as ``\uXXXX``, which is an escape of JSON too; tabs and newlines stay."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
