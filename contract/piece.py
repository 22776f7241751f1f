"""The piece of a film that is restored: its bounds as a user gives them, and the frames that ingest found between them."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from msgspec import Meta, Struct

from contract.errors import UsageError

Bound = Annotated[str, Meta(pattern=r"^(frame:[0-9]{1,9}|[0-9]{1,9}(\.[0-9]{1,9})?)$")]
"""Seconds since the film's first frame, or ``frame:N``, frame N counted from 0; one text for each value, so that it is one job."""

_TIME = re.compile(r"(?:(?:(\d{1,3}):)?(\d{1,2}):)?(\d{1,9}(?:\.\d{1,9})?)", re.ASCII)
_FRAME = re.compile(r"frame:(\d{1,9})", re.ASCII)


class Bounds(Struct, frozen=True, forbid_unknown_fields=True):
    """The bounds of a piece: the first frame shown at `start` or later, up to the last one before `end`."""

    start: Bound | None = None
    end: Bound | None = None

    @property
    def words(self) -> str:
        """The options that ask for it."""
        named = [("--from", self.start), ("--to", self.end)]
        return " ".join(f"{option} {value}" for option, value in named if value is not None)


class Piece(Struct, frozen=True, forbid_unknown_fields=True):
    """Frames `first` .. `first + frames - 1` of the `of` frames of a source.

    `start` is the time of the first of them on the source's clock, `end` that of the frame after the last one, None at the
    source's end; both are fractions of seconds.
    """

    first: Annotated[int, Meta(ge=0)]
    frames: Annotated[int, Meta(ge=1)]
    of: Annotated[int, Meta(ge=1)]
    start: tuple[int, Annotated[int, Meta(ge=1)]]
    end: tuple[int, Annotated[int, Meta(ge=1)]] | None = None

    @property
    def words(self) -> str:
        """The frames in a sentence; the first frame of a source is frame 0."""
        return f"frames {self.first} to {self.first + self.frames - 1} of {self.of}"

    @property
    def bounds(self) -> Bounds:
        """Bounds that ask for the same frames."""
        return Bounds(f"frame:{self.first}", f"frame:{self.first + self.frames}")

    @property
    def window(self) -> tuple[Fraction | None, Fraction | None]:
        """Seconds of the source's clock at which it begins and ends; None where the source itself does."""
        start = Fraction(*self.start) if self.first else None
        return start, None if self.end is None else Fraction(*self.end)


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
