"""The table of all commands in docs/commands.md, from a walk through the command line.

    python -m benchmarks.pages.commands

Each command is asked for its help, its manual page and its completions, and typed with two letters exchanged.
tests/orchestrator/cli/test_every_command.py fails where one lacks any of these, or where the page is stale.
"""

from __future__ import annotations

from pathlib import Path

from testkit.every_command import table

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
HEADING = "## All commands\n\n"


def main() -> None:
    """Write the table into the page."""
    before, _, _ = PAGE.read_text().partition(HEADING)
    PAGE.write_text(before + HEADING + "\n".join(table()) + "\n")


if __name__ == "__main__":
    main()
