"""Programs that are started by a string start, and their names stand in one place."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from contract.programs import Program, command_line

ROOT = Path(__file__).parents[2]
OURS = ("contract", "stores", "media", "weights", "workers", "training", "orchestrator", "testkit", "benchmarks")
WITHOUT_HELP = {
    Program.SANDBOX: (("1",), 0),  # its parent closes stdin: nothing is to do
    Program.FILM_EVIDENCE: (("1",), 0),  # as above
    Program.ENCODER_TRIAL: ((), 1),  # prints its usage, as nothing is on its standard input
    Program.INSPECT_CHECKPOINT: ((), 2),  # as above
}


_LOADS_TORCH = [pytest.param(program, marks=pytest.mark.slow) for program in Program if program.startswith("training")]
_OTHERS = [program for program in Program if not program.startswith("training")]


@pytest.mark.parametrize("program", [*_OTHERS, *_LOADS_TORCH])
def test_every_program_starts(program: Program, tmp_path: Path) -> None:
    """A module that moved or cannot be imported ends with another code, and says so."""
    arguments, code = WITHOUT_HELP.get(program, (("--help",), 0))
    done = subprocess.run(
        command_line(program, *arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=240,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert program in (Program.SANDBOX, Program.FILM_EVIDENCE) or "usage" in (done.stdout + done.stderr).lower()


def launches(path: Path) -> Iterator[str]:
    """Modules of ours that `path` gives to ``-m`` as plain strings."""
    for node in ast.walk(ast.parse(path.read_text())):
        items = node.elts if isinstance(node, ast.List | ast.Tuple) else node.args if isinstance(node, ast.Call) else []
        words = [item.value if isinstance(item, ast.Constant) else None for item in items]
        for flag, module in pairwise(words):
            if flag == "-m" and isinstance(module, str) and module.split(".")[0] in OURS:
                yield module


def test_no_launch_names_a_module_itself() -> None:
    """Whatever starts a program takes its name from `contract.programs`."""
    found = {
        str(path.relative_to(ROOT)): modules
        for folder in (*OURS, "tests", "samples", "deploy")
        for path in (ROOT / folder).rglob("*.py")
        if "before_rooms" not in path.parts  # starts old versions too, so it takes no name from the present one
        if (modules := list(launches(path)))
    }
    assert found == {}


def test_launches_are_found(tmp_path: Path) -> None:
    """The search sees lists, tuples and calls."""
    path = tmp_path / "a.py"
    path.write_text(
        """run([python, "-m", "workers.a"]); run((p, "-m", "media.b")); run(p, "-m", "stores.c", "-m", "pip")"""
    )
    assert list(launches(path)) == ["stores.c", "workers.a", "media.b"]
