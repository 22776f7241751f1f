"""Seeded corruptions of every kind of film: each must come out exact, or flagged, or be refused in one sentence.

    python -m benchmarks.fidelity.fuzz [--count 500] [--first 0]

Never silently different, never a hang, never a crash. A case is named by its number, which seeds everything about it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from testkit.materials.corruption import run_case


def main() -> int:
    """Run the cases asked for; exit 1 when any was silent or broken."""
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
