"""Every S3, Redis and queue call of a job's life, disturbed one by one: counts of points and of trials that went wrong or got stuck.

`python -m benchmarks.reliability.crash_points` tries all of them, over S3 in memory and a real Redis; `--real` takes a real S3 server,
`--every N` a sample. A trial is right when the job ends as it does undisturbed, each result has its own source's pictures, every
commit names objects that are there, nothing else is left of attempts, and a server's fault cost no chunk a try.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.reliability import page
from contract.settings import Settings
from orchestrator.local import start
from testkit.crash_points import SCENARIOS, Laboratory, Outcome


def main() -> int:
    """Run the trials and print a table; return 1 when any went wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability.crash_points", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--scenarios", nargs="*", choices=[[], *SCENARIOS], default=[], help="all when none is named")
    parser.add_argument("--orchestrators", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--every", type=int, default=1, help="of all ways to disturb a scenario, try each N-th")
    parser.add_argument("--offset", type=int, default=0, help="number of the first that is tried")
    parser.add_argument("--real", action="store_true", help="a real S3 server instead of one in memory")
    parser.add_argument("--page", type=Path, nargs="?", const=Path("docs/reliability.md"), help="write the rows there")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # each trial meets errors on purpose
    print(
        "| scenario | orchestrators | calls | trials | wrong | stuck | seconds |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    failed = 0
    with tempfile.TemporaryDirectory(prefix="rs-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with start(Settings(state=folder / "state"), workers=0, orchestrator=False) as cluster:
            settings = replace(cluster.settings, scratch=folder, cache=folder / "cache")
            with Laboratory(settings, folder, options.real).open() as laboratory:
                for scenario in options.scenarios or SCENARIOS:
                    for orchestrators in options.orchestrators:
                        bad, row = _row(laboratory, scenario, orchestrators, options.every, options.offset)
                        failed += bad
                        if options.page and options.every == 1:
                            page.write(options.page, f"{row} {datetime.now(UTC):%Y-%m-%d} |", page.CALLS, key=2)
    return int(failed > 0)


def _row(laboratory: Laboratory, scenario: str, orchestrators: int, every: int, offset: int) -> tuple[int, str]:
    """Run and print one row, and what went wrong in it; return the number of trials that did, and the row."""
    began = time.monotonic()
    calls = len(laboratory.points(scenario, orchestrators))
    bad: list[Outcome] = []
    trials = 0
    for outcome in laboratory.all(scenario, orchestrators, every, offset):
        trials += 1
        if outcome.wrong:
            bad.append(outcome)
            what = outcome.point.what if outcome.point else "not reached"
            print(f"wrong: call {outcome.number} ({what}) {outcome.mode}: {outcome.wrong}", flush=True)
    stuck = sum(outcome.stuck for outcome in bad)
    seconds = time.monotonic() - began
    cells = (scenario, orchestrators, calls, trials, len(bad) - stuck, stuck, f"{seconds:.0f}")
    row = "| " + " | ".join(map(str, cells)) + " |"
    print(row, flush=True)
    return len(bad), row


if __name__ == "__main__":
    sys.exit(main())
