"""Lives of a job, drawn at random: `python -m benchmarks.reliability.job_life --examples 2000` runs for about an hour on two cores."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import run_state_machine_as_test

from contract.settings import Settings
from orchestrator.local import start
from testkit.crash_points import Laboratory
from testkit.job_life import JobLife


def main() -> int:
    """Draw lives until one fails, which is then made as short as it can be and printed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability.job_life", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=40, help="most that happens in one life")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # each life meets errors on purpose
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rs-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with start(Settings(state=folder / "state"), workers=0, orchestrator=False) as cluster:
            settings = replace(cluster.settings, scratch=folder, cache=folder / "cache")
            with Laboratory(settings, folder).open() as JobLife.laboratory:
                run_state_machine_as_test(
                    JobLife,
                    settings=hypothesis_settings(
                        max_examples=options.examples,
                        stateful_step_count=options.steps,
                        deadline=None,
                        database=None,
                        suppress_health_check=list(HealthCheck),
                    ),
                )
    print(
        f"{options.examples} lives of up to {options.steps} steps, none wrong, none stuck, {time.monotonic() - began:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
