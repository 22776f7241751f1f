"""Bounds of a piece of a film, as users write them. Pure."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from contract.errors import UsageError
from contract.piece import Bound, Bounds

_TIME = re.compile(r"(?:(?:(\d{1,3}):)?(\d{1,2}):)?(\d{1,9}(?:\.\d{1,9})?)", re.ASCII)
_FRAME = re.compile(r"frame:(\d{1,9})", re.ASCII)


def bound(text: str) -> Bound:
    """Return the bound that `text` means: ``90``, ``1:30``, ``0:01:30.5`` or ``frame:250``; raise UsageError for others."""
    if frame := _FRAME.fullmatch(text):
        return f"frame:{int(frame[1])}"
    found = _TIME.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no time; give seconds, MINUTES:SECONDS, HOURS:MINUTES:SECONDS or frame:NUMBER.")
    hours, minutes, seconds = int(found[1] or 0), int(found[2] or 0), Decimal(found[3])
    if (found[2] and seconds >= 60) or (found[1] and minutes >= 60):
        raise UsageError(f"{text!r} is no time: minutes and seconds go up to 59; give seconds alone, or carry them on.")
    total = seconds + 60 * minutes + 3600 * hours
    return f"{total:f}".rstrip("0").rstrip(".") if "." in f"{total:f}" else f"{total:f}"


def bounds(start: str | None, end: str | None) -> Bounds | None:
    """Return the bounds that --from and --to give, None without either; raise UsageError where nothing lies between them."""
    if start is None and end is None:
        return None
    found = Bounds(None if start is None else bound(start), None if end is None else bound(end))
    numbered = [value.startswith("frame:") for value in (found.start, found.end) if value is not None]
    low, high = (Fraction((value or "0").removeprefix("frame:")) for value in (found.start, found.end))
    if found.end is not None and len(set(numbered)) == 1 and high <= low:
        raise UsageError(f"nothing lies between --from {start or 0} and --to {end}; give a later --to.")
    return found
