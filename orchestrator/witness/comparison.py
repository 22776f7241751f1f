"""Comparison of the workers' fingerprints of a film with those of a plain decode. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from contract.film import Span
from media.decoding import UNDECODED
from media.fingerprints import ABSENT, Prints

_ALIGNED = 4000
"""Frames that are aligned at most where the counts differ: the time grows with the square of the frames."""
_NEAR = 64
"""Frames by which a decoder may complain after the frame that it decoded from broken data: more than any reordering."""


@dataclass(frozen=True)
class Difference:
    """Positions `first` .. `first + count - 1` of the film, for which the plain decode gave its frames `at` .. `at + other - 1`.

    Either count may be 0; `ours` and `plain` are the first fingerprints, ABSENT where there is none.
    """

    first: int
    count: int
    at: int
    other: int
    ours: int = ABSENT
    plain: int = ABSENT


def differences(ours: Prints, plain: Prints, whole: bool = True) -> list[Difference]:
    """Return where the plain decode differs from `ours` (by position, ABSENT for missing frames).

    With `whole` False the plain decode ended early, and only what it has is compared.
    """
    present = np.flatnonzero(ours != ABSENT)
    if not whole:
        present = present[: len(plain)]
    mine = ours[present]
    if len(mine) == len(plain):
        wrong = np.flatnonzero(mine != plain)
        blocks = [(int(part[0]), int(part[-1]) + 1) for part in _runs(wrong)]
        spans = [(low, high, low, high) for low, high in blocks]
    else:
        spans = _aligned(mine, plain)
    return [_difference(present, len(ours), mine, plain, *span) for span in spans]


def _runs(numbers: np.ndarray) -> list[np.ndarray]:
    return np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1) if len(numbers) else []


def _aligned(mine: Prints, plain: Prints) -> list[tuple[int, int, int, int]]:
    """Return the ranges (mine, plain) that differ between two sequences of different length."""
    most = min(len(mine), len(plain))
    unequal = np.flatnonzero(mine[:most] != plain[:most])
    head = int(unequal[0]) if len(unequal) else most
    back = np.flatnonzero(mine[len(mine) - (most - head) :][::-1] != plain[len(plain) - (most - head) :][::-1])
    tail = int(back[0]) if len(back) else most - head
    low, high = mine[head : len(mine) - tail], plain[head : len(plain) - tail]
    if max(len(low), len(high)) > _ALIGNED:
        return [(head, len(mine) - tail, head, len(plain) - tail)]
    codes = SequenceMatcher(None, low.tolist(), high.tolist(), autojunk=False).get_opcodes()
    return [(head + a, head + b, head + c, head + d) for kind, a, b, c, d in codes if kind != "equal"]


def _difference(
    present: np.ndarray, frames: int, mine: Prints, plain: Prints, low: int, high: int, at: int, end: int
) -> Difference:
    """Return a difference in positions, with the positions that give no frame at its ends."""
    first = int(present[low - 1]) + 1 if low else 0
    after = int(present[high]) if high < len(present) else frames
    if high > low and end - at == high - low:  # nothing is missing: only the frames themselves
        first, after = int(present[low]), int(present[high - 1]) + 1
    ours = int(mine[low]) if high > low else ABSENT
    return Difference(first, after - first, at, end - at, ours, int(plain[at]) if end > at else ABSENT)


def excused(
    found: Difference, damage: Iterable[Span], trouble: Sequence[tuple[int, str]], marked: Iterable[Span] = ()
) -> str:
    """Return the evidence that a difference is the source's damage; empty where it is not.

    The workers must have reported damage there, and the plain decode must have complained not later than there, or the
    container must have marked it (`marked`). `trouble` holds the plain decode's complaints by its own frames.
    """
    low, high = found.first - 1, found.first + max(1, found.count)

    def touches(span: Span) -> bool:
        return span.first <= high and span.first + max(1, span.count) > low

    reported = [span for span in damage if touches(span)]
    if not reported:
        return ""
    heard = [words for at, words in trouble if at <= found.at + found.other + _NEAR]
    if heard:
        return heard[-1]
    known = [span.reason for span in (*marked, *reported) if touches(span)]
    return UNDECODED if UNDECODED in known else next((span.reason for span in marked if touches(span)), "")
