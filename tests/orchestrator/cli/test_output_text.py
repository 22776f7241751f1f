"""Text of sources in what the command line writes: terminals and spreadsheets execute none of it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from contract.job import ItemFailure
from orchestrator.cli import main
from orchestrator.cli.output import write_failures
from orchestrator.cli.terminal import echo


def test_names_cannot_command_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences, DEL, C1 and bidirectional controls in a name are shown as escapes, on stdout and stderr."""
    name = "a\x1b[2J\x7f\x9b31m\u202egnp.scr"
    echo(name)
    echo(name, err=True)
    shown = capsys.readouterr()
    assert shown.out == shown.err == "a\\u001b[2J\\u007f\\u009b31m\\u202egnp.scr\n"


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_cells_of_failures_are_no_formulas(tmp_path: Path, name: str) -> None:
    """A spreadsheet takes no cell of failures.csv for a formula; plain names are unchanged."""
    write_failures(tmp_path, [ItemFailure(0, name, name), ItemFailure(1, "plain.png", "why")])
    with (tmp_path / "failures.csv").open(encoding="utf-8", newline="") as file:
        _, first, second = csv.reader(file)
    assert first == [f"'{name}", f"'{name}"]
    assert second == ["plain.png", "why"]


def test_all_lines_of_commands_are_made_printable() -> None:
    """No command prints past `orchestrator.cli.terminal.echo`."""
    folder = Path(main.__file__).parent
    direct = [
        path.name for path in folder.glob("*.py") if "click.echo(" in path.read_text() and path.stem != "terminal"
    ]
    assert direct == []
