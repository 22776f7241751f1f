"""A piece of a film: the frames between the bounds of --from and --to, found in its presentation order. Pure."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from contract.errors import BadInput
from contract.film import UNPLACED
from contract.job import Spec
from contract.piece import Bound, Bounds, Piece
from orchestrator.ingest.chunking import Keys

Column = npt.NDArray[np.int64]


def find_piece(bounds: Bounds, pts: Column, base: Fraction, what: str) -> tuple[Piece | None, str]:
    """Return the piece of a film whose frames are shown at `pts`, None for all of it, and a note.

    Its first frame is the first one shown at `bounds.start` or later, its last one the last before `bounds.end`; time counts
    from the film's first frame. Raises BadInput where no frame lies between them.
    """
    of = len(pts)
    first = 0 if bounds.start is None else _before(bounds.start, pts, base)
    after = of if bounds.end is None else min(of, _before(bounds.end, pts, base))
    if first >= after:
        last = float(int(pts[-1] - pts[0]) * base)
        raise BadInput(
            f"no frame of {what} lies in {bounds.words}: its last one is frame {of - 1}, at {last:.3f} s; give other bounds."
        )
    if after - first == of:
        return None, f"all {of} frames of {what} lie in {bounds.words}"
    piece = Piece(
        first, after - first, of, _fraction(pts[first] * base), _fraction(pts[after] * base) if after < of else None
    )
    begins, ends = (_clock(float(int(pts[n] - pts[0]) * base)) for n in (first, after - 1))
    starts = "; the result begins at 0" if first else ""
    return piece, f"a piece of {what} is restored: {piece.words}, shown from {begins} to {ends}{starts}"


def in_piece(positions: Column, keys: Keys, piece: Piece) -> tuple[Column, Keys]:
    """Return positions and key packets of a film as those of a piece.

    Frames before the piece keep positions below UNPLACED, those after it follow on; keys before it have negative ones.
    """
    moved = positions - piece.first
    moved = np.where(moved < 0, moved - 1, moved)  # UNPLACED, which is -1, is no frame's
    usable = keys.positions < piece.first + piece.frames
    return (
        np.where(positions == UNPLACED, UNPLACED, moved),
        Keys(keys.ids[usable], keys.positions[usable] - piece.first),
    )


def refuse_piece(spec: Spec, why: str, what: str) -> None:
    """Raise BadInput where --from and --to are given for a film whose frames are not told apart by its packets."""
    if spec.piece is not None:
        raise BadInput(
            f"{spec.piece.words} cannot be used for {what}: {why}; restore the whole film, and cut the result."
        )


def _before(bound: Bound, pts: Column, base: Fraction) -> int:
    """Return how many frames are before a bound."""
    if bound.startswith("frame:"):
        return int(bound.removeprefix("frame:"))
    return int(np.searchsorted(pts - pts[0], math.ceil(Fraction(bound) / base)))


def _fraction(seconds: Fraction) -> tuple[int, int]:
    return seconds.numerator, seconds.denominator


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes) // 60}:{int(minutes) % 60:02}:{rest:06.3f}"
