"""The piece of a film that is restored: its bounds, and the frames that ingest found between them."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from msgspec import Meta, Struct

Bound = Annotated[str, Meta(pattern=r"^(frame:[0-9]{1,9}|[0-9]{1,9}(\.[0-9]{1,9})?)$")]
"""Seconds since the film's first frame, or ``frame:N``, frame N counted from 0; one text for each value, so that it is one job."""


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
