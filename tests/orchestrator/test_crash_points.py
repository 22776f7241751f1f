"""Every call to S3, Redis and the queue may fail, lose its answer, or be a process' last: no frame is wrong, no job is stuck."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.settings import Settings
from testkit.crash_points import SCENARIOS, Laboratory

QUICK, THOROUGH = 233, 37
"""Of all ways to disturb a scenario, each of so many is tried; `python -m benchmarks.reliability.crash_points` tries all."""


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_some_calls_of_every_scenario_may_go_wrong(laboratory: Laboratory, scenario: str) -> None:
    """With one orchestrator, in memory."""
    wrong = [outcome for outcome in laboratory.all(scenario, 1, QUICK, 5) if outcome.wrong]
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("orchestrators", [1, 2])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_many_calls_may_go_wrong(laboratory: Laboratory, scenario: str, orchestrators: int) -> None:
    """With one orchestrator and with two."""
    wrong = [outcome for outcome in laboratory.all(scenario, orchestrators, THOROUGH, orchestrators) if outcome.wrong]
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["life", "collected"])
def test_the_real_store_behaves_as_the_one_in_memory(settings: Settings, tmp_path: Path, scenario: str) -> None:
    """A few calls are disturbed over a real S3 server."""
    with Laboratory(settings, tmp_path, real=True).open() as laboratory:
        wrong = [outcome for outcome in laboratory.all(scenario, 2, 10 * THOROUGH) if outcome.wrong]
    assert not wrong
