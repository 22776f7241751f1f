"""Evidence in clips whose faults are known: `python -m benchmarks.fidelity.evidence` prints the table of docs/film-time.md.

Each clip is written as a film, clean and damaged by known draws, and looked at as `respool probe` does. The command fails where something is
proposed for a clean clip, or --dirt for a film without any.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from contract.evidence import Evidence, LookOrder, Place
from contract.film import Scanning
from contract.job import Spec
from orchestrator.submission.repairs import proposed
from testkit.film_damage import CLIPS, FAST, Amounts, damage
from testkit.filtered import COLOUR, Pixels, write_film
from workers.film.evidence import FILTERS
from workers.film.evidence_process import evidence

FRAMES = 60
SIZE = 240, 320
"""Height and width."""
DAMAGES = {
    "none": Amounts(),
    "grain 2": Amounts(grain=2.0),
    "grain 4": Amounts(grain=4.0),
    "grain 8": Amounts(grain=8.0),
    "flicker 0.01": Amounts(flicker=0.01, grain=2.0),
    "flicker 0.04": Amounts(flicker=0.04, offset=2.0, grain=4.0),
    "weave 0.2": Amounts(weave=0.2, grain=2.0),
    "weave 0.7": Amounts(weave=0.7, grain=4.0),
    "4 scratches": Amounts(scratches=4, grain=4.0),
    "dust 0.5": Amounts(dust=0.5, grain=2.0),
    "dust 4": Amounts(dust=4.0, grain=4.0),
    "all": Amounts(flicker=0.03, offset=1.0, weave=0.5, scratches=3, grain=4.0),
    "all, dust 4": Amounts(flicker=0.03, offset=1.0, weave=0.5, scratches=3, grain=4.0, dust=4.0),
}
MOVING = ("still", "pan", "pan, crossed")
"""Clips that are shown damaged, too."""
COLUMNS = ("clip", "damage", "flicker", "dirt, others", "scratches", "weave", "grain", "still", "proposed")


def main() -> int:
    """Print the table; exit with 1 where something is proposed that is not there."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fidelity.evidence", description=(__doc__ or "").splitlines()[0]
    )
    clips = CLIPS | FAST
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each clip")
    parser.add_argument("--clips", nargs="*", default=list(clips), choices=list(clips))
    parser.add_argument("--damages", nargs="*", default=list(DAMAGES), choices=list(DAMAGES))
    given = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n| {' | '.join('---' for _ in COLUMNS)} |")
    wrong = False
    with tempfile.TemporaryDirectory(prefix="respool-") as folder:
        for clip in given.clips:
            clean = clips[clip](given.frames, *SIZE)
            for name in given.damages:
                if name != "none" and clip not in MOVING:
                    continue
                amounts = DAMAGES[name]
                found = _looked_at(damage(clean, amounts, given.seed).damaged, Path(folder) / "film.mkv")
                options = proposed(found, Spec(model="lanczos"))
                wrong |= (name == "none" and bool(options)) or ("--dirt" in options and not amounts.dust)
                print(f"| {clip} | {name} | {' | '.join(_cells(found))} | {' '.join(options) or '-'} |", flush=True)
    return int(wrong)


def _looked_at(pictures: list[Pixels], path: Path) -> Evidence:
    write_film(path, pictures)
    count = len(pictures)
    place = Place(0, count, 0, count)
    order = LookOrder(path.name, 0, COLOUR, Scanning(), False, (place,), tuple(FILTERS))
    with path.open("rb") as source:
        return evidence(source, order, lambda: None)


def _cells(found: Evidence) -> list[str]:
    (look,) = found.looks
    by_name = {finding.filter: finding for finding in look.findings}
    flicker, dirt, scratches, weave = (by_name[name] for name in ("deflicker", "dirt", "scratches", "stabilise"))
    return [
        f"{flicker.amount:g} in {flicker.frames}",
        f"{dirt.amount:g} in {dirt.frames} of {dirt.looked}, {dirt.others:g}",
        f"{len(scratches.columns)}, up to {scratches.amount:g}, in {scratches.frames}",
        f"{weave.amount:g} in {weave.frames}",
        "-" if look.grain is None else f"{look.grain:g}",
        "-" if look.still is None else f"{look.still:.0%}",
    ]


if __name__ == "__main__":
    sys.exit(main())
