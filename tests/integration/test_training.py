"""Wrong command lines of training."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

Respool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["finetune", "realesr-animevideov3", "-o", "x"], "give either --clean"),
        (["finetune", "realesr-animevideov3", "--clean", "c", "-o", "x"], "needs --damage FILE"),
        (["finetune", "realesr-animevideov3", "--pairs", "a", "b", "--damage", "d", "-o", "x"], "leave --damage out"),
        (
            ["finetune", "realesr-animevideov3", "--clean", "c", "--damage", "generic", "-o", "x", "--time", "soon"],
            "90s, 20m or 3h",
        ),
        (["train", "missing.toml"], "cannot be read"),
        (["training", "resume", "nonsense"], "not a training run's id"),
    ],
)
def test_wrong_command_lines_are_said_before_anything_starts(
    respool_here: Respool, arguments: list[str], said: str
) -> None:
    """Each ends with exit code 2 and one sentence."""
    done = respool_here(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
