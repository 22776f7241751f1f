"""The check of a film's decoding: the workers' fingerprints held against the plain decode of the source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import msgspec
import numpy as np

from contract.errors import VerifyError
from contract.film import FilmIndex, Span
from contract.job import Damage, Done, Witness, where
from media.columns import unpack
from media.fingerprints import ABSENT, Prints, unpack_prints
from orchestrator.witness.comparison import Difference, differences, excused
from orchestrator.witness.source_reading import SourceReading
from orchestrator.witness.time_check import wrong_times

FINGERPRINTS = "fingerprints"
"""The key of a chunk's fingerprints in the record of its commit."""


@dataclass(frozen=True)
class Checked:
    """Result of a check of decoding that passed: `record` is for the result's record, `notes` are for the user."""

    record: dict[str, object]
    notes: list[str]


def fingerprints(commits: Sequence[Done]) -> Prints | None:
    """Return the workers' fingerprints by position; None when a commit, of an older worker, has none."""
    found = []
    for commit in commits:
        if FINGERPRINTS not in commit.record:
            return None
        prints = unpack_prints(msgspec.json.decode(commit.record[FINGERPRINTS], type=bytes))
        if len(prints) != commit.count or np.count_nonzero(prints != ABSENT) != commit.frames:
            raise VerifyError(
                f"{where(commit.first, commit.count)} were delivered as {commit.frames} frames with "
                f"{np.count_nonzero(prints != ABSENT)} fingerprints; `respool retry` the job, and report this as a defect."
            )
        found.append(prints)
    return np.concatenate(found) if found else np.zeros(0, np.uint32)


def check_decoding(
    index: FilmIndex,
    ours: Prints | None,
    damage: Sequence[Damage],
    reading: SourceReading,
    choice: Witness,
    again: Callable[[], SourceReading],
) -> Checked:
    """Raise VerifyError unless the plain decode in `reading` gave the frames that the workers had.

    A difference passes where both call the source damaged, or where a decode with several threads (`again`) agrees with
    the workers; notes say so.
    """
    if reading.failed:
        raise VerifyError(
            f"the witness could not decode the source: {reading.failed} Submit it with --witness off to go without."
        )
    record: dict[str, object] = {"choice": choice, "frames": reading.frames, "cpu_s": reading.cpu_s}
    if ours is None:
        return Checked(record | {"outcome": "no fingerprints"}, [_UNCONFIRMED])
    spans = [Span(d.first, d.count, d.reason) for d in damage]
    notes, faults = [], []
    for found in differences(ours, unpack_prints(reading.prints), reading.whole):
        evidence = excused(found, spans, reading.trouble, index.damage)
        if evidence:
            notes.append(f"{_place(found)}: a plain decode of the source finds it damaged there, too ({evidence})")
        else:
            faults.append(found)
    if faults:
        left = differences(ours, unpack_prints(again().prints), reading.whole)
        agreed = [f for f in faults if not any(_overlap(f, other) for other in left)]
        notes += [f"{_place(f)}: plain decodes with one and with several threads differ there" for f in agreed]
        faults = [f for f in faults if f not in agreed]
    if faults:
        raise VerifyError(_fault(faults, reading))
    off = _wrong_times(index, ours, reading)
    if off:
        raise VerifyError(f"{off}. Report this film as a defect; --witness off delivers it as it is.")
    record["outcome"] = "the same frames" if not notes else "the same frames but for damage"
    return Checked(record, notes)


def _wrong_times(index: FilmIndex, ours: Prints, reading: SourceReading) -> str:
    """Describe a planned time that is not the source's. Times of a clock that falls back are moved, and not compared."""
    if index.joins or not reading.base[0]:
        return ""
    times = unpack(reading.times)
    delivered = unpack(index.pts)[ours != ABSENT]
    if reading.whole and len(times) != len(delivered):
        return ""
    return wrong_times(delivered, Fraction(*index.time_base), times, Fraction(*reading.base))


_UNCONFIRMED = (
    "workers of an older version made some chunks without fingerprints, so no second decode confirms the frames"
)


def _fault(faults: Sequence[Difference], reading: SourceReading) -> str:
    first = faults[0]
    more = f" (and {len(faults) - 1} other places)" if len(faults) > 1 else ""
    heard = f"; the plain decode complains: {reading.trouble[0][1]}" if reading.trouble else ""
    return (
        f"{_place(first)}{more} are not what a plain decode of the source gives: the chunk has {_said(first.ours)}, the plain "
        f"decode {_said(first.plain)}{heard}. Report this film as a defect; --witness off delivers it as it is."
    )


def _said(print_: int) -> str:
    return "no frame" if print_ == ABSENT else f"samples with CRC-32 {print_:08x}"


def _place(found: Difference) -> str:
    return where(found.first, found.count)


def _overlap(one: Difference, other: Difference) -> bool:
    return one.first < other.first + max(1, other.count) and other.first < one.first + max(1, one.count)
