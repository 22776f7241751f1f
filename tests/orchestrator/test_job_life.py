"""Whatever happens in a job's life, in whatever order, the user has a way to the right result."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import run_state_machine_as_test

from testkit.crash_points import Laboratory
from testkit.job_life import JobLife


@pytest.mark.parametrize("examples", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_every_state_has_a_way_out(laboratory: Laboratory, examples: int) -> None:
    """`python -m benchmarks.reliability.job_life` draws more lives."""
    JobLife.laboratory = laboratory
    run_state_machine_as_test(
        JobLife,
        settings=hypothesis_settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
