"""Seeded corruptions of every kind of film: each must come out exact, or flagged, or be refused in one sentence.

    python -m benchmarks.fidelity.fuzz [--count 500] [--first 0]

Never silently different, never a hang, never a crash. A case is named by its number, which seeds everything about it.
"""

from __future__ import annotations

import argparse
import faulthandler
import functools
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.errors import RespoolError
from contract.job import Spec
from testkit.materials.catalog import by_name
from testkit.materials.check import compare
from testkit.materials.damage import APPLY
from testkit.materials.in_process import restore

BASES = (
    "h264-closed-gop", "h264-open-gop", "h264-open-gop-ts", "hevc-open-gop", "hevc-10-bit", "mpeg2-interlaced-pal",
    "mpeg4-b-frames-in-avi", "h264-b-frames-in-avi", "mjpeg", "vp9", "av1", "fragmented-mp4", "everything-in-mkv",
    "h264-intra-refresh", "h264-field-pictures", "ffv1", "variable-rate-mp4", "h264-raw", "dv-ntsc-411", "vp8",
)  # fmt: skip
HANG_S = 60
"""A case of 48 small frames takes a fraction of a second; after so long it counts as a hang."""


@dataclass(frozen=True)
class Case:
    """What became of a corrupted film: exact, flagged, refused, or what must never happen: silent, broken."""

    number: int
    name: str
    state: str
    words: str
    seconds: float


@functools.cache
def base(name: str) -> bytes:
    return by_name(name).make()


def run_case(number: int, folder: Path) -> Case:
    """Corrupt, restore and compare one film."""
    rng = np.random.default_rng(number)
    name = BASES[number % len(BASES)]
    kind = str(rng.choice(list(APPLY)))
    data = APPLY[kind](base(name), number)
    source = folder / f"film.{by_name(name).suffix}"
    source.write_bytes(data)
    spec = Spec(model="identity", codec="ffv1", chunk_frames=int(rng.choice([5, 9, 16, 100])))
    label = f"{name} {kind}"
    began = time.perf_counter()
    faulthandler.dump_traceback_later(HANG_S, exit=True)
    try:
        done = restore(source, "result.mkv", spec, folder)
        verdict = compare(data, done.data, lossless=True)
    except RespoolError as error:
        return Case(number, label, "refused", str(error), time.perf_counter() - began)
    except Exception as error:
        return Case(number, label, "broken", f"{type(error).__name__}: {error}", time.perf_counter() - began)
    finally:
        faulthandler.cancel_dump_traceback_later()
    seconds = time.perf_counter() - began
    if not verdict.problems:
        return Case(number, label, "exact", "", seconds)
    said = done.notes + [f"frames {f}-{f + max(c, 1) - 1}: {r}" for f, c, r in done.damage]
    state = "flagged" if said else "silent"
    return Case(number, label, state, "; ".join(verdict.problems) + " | " + "; ".join(said), seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--verbose", action="store_true")
    wanted = parser.parse_args()
    tally: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(wanted.first, wanted.first + wanted.count):
            case = run_case(number, Path(folder))
            tally[case.state] += 1
            slowest = max(slowest, case.seconds)
            if wanted.verbose or case.state in ("silent", "broken"):
                print(f"{case.number} {case.name}: {case.state} {case.words[:600]}", flush=True)
    print(", ".join(f"{n} {state}" for state, n in sorted(tally.items())), f"; slowest {slowest:.1f} s")
    return int(bool(tally["silent"] or tally["broken"]))


if __name__ == "__main__":
    sys.exit(main())
