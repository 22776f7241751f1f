"""Faults planted into Respool's own code, each in a real job: ``python -m benchmarks.fidelity.planted_faults [--names ...]``.

One embedded cluster (Redis, SeaweedFS, orchestrator, Celery worker) runs a job for each fault with the witnesses and
one without. The table tells which check caught it, and what was delivered without them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.fidelity.witness_page import PAGE, put, section
from testkit.cluster import rig
from testkit.defects import DEFECTS, Defect, Outcome, trial, witness_of

HEADING = "Planted faults"
_INTRO = """`python -m benchmarks.fidelity.planted_faults` writes this table. Each fault is a change of Respool's own code, as a defect would
be (`testkit/faults/planted.py`), in a job of a real cluster (Redis, SeaweedFS, orchestrator, Celery worker) that restores a film in four
chunks. "Other checks" are those that a job has without a witness: counts, headers, checksums, the plan.

| fault | what it does | caught by | with `--witness off` |
| --- | --- | --- | --- |
"""
_OFF = {
    "failed": "caught by other checks",
    "wrong": "**delivered wrong, unsaid**",
    "said": "delivered wrong, with a note",
    "exact": "delivered exact",
}


def main() -> int:
    """Run the trials; exit 1 when a fault was delivered in spite of the witnesses."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fidelity.planted_faults", description=__doc__)
    parser.add_argument("--names", nargs="*", default=[], help="of faults, whose rows are replaced; all unless named")
    parser.add_argument("--page", type=Path, default=PAGE)
    wanted = parser.parse_args()
    rows, missed = [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with rig(folder, fault="planted") as cluster:
            for number, defect in enumerate(DEFECTS):
                if wanted.names and defect.name not in wanted.names:
                    continue
                on = trial(cluster, folder, defect, "full", number)
                off = trial(cluster, folder, defect, "off", number)
                rows.append(_row(defect, on, off))
                missed += on.state != "failed"
                sys.stdout.write(f"{rows[-1]}\n    {on.words[:300]}\n    {off.words[:300]}\n")
                sys.stdout.flush()
    put(wanted.page, HEADING, _INTRO + "\n".join(_ordered(wanted.page, rows)))
    sys.stdout.write(f"{len(rows)} faults, {missed} not caught\n")
    return int(missed > 0)


def _ordered(page: Path, new: list[str]) -> list[str]:
    """Return the rows of the page, `new` ones in place of their earlier versions, in the order of the faults."""
    old = section(page, HEADING).splitlines()
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in (*old, *new) if line.startswith("| ")}
    return [rows[defect.name] for defect in DEFECTS if defect.name in rows]


def _row(defect: Defect, on: Outcome, off: Outcome) -> str:
    caught = witness_of(on.words) if on.state == "failed" else f"nothing: {_OFF[on.state]}"
    return f"| {defect.name} | {defect.words} | {caught} | {_OFF[off.state]} |"


if __name__ == "__main__":
    sys.exit(main())
