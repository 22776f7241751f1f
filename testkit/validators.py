"""Validators of the files in deploy/, as tests call them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
Need = Callable[[str], str]


def call(*argv: str | Path, cwd: Path = ROOT) -> str:
    """Run a validator and return its output; fail with its complaints when it has any."""
    done = subprocess.run([str(a) for a in argv], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
