"""Manual pages: every command has one, with the words of its help."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from orchestrator.cli.main import call, respool
from orchestrator.cli.man import manual, page

ESCAPES = {
    "\\:": "",
    r"\e": "\\",
    r"\-": "-",
    r"\(aq": "'",
    r"\(ga": "`",
    r"\(ha": "^",
    r"\(ti": "~",
    r"\(dq": '"',
    r"\&": "",
}


def contexts(context: click.Context) -> list[click.Context]:
    """A command's context and those of all commands below it, found without the writer."""
    found = [context]
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            assert command is not None
            found += contexts(click.Context(command, info_name=name, parent=context, **command.context_settings))
    return found


EVERY = contexts(
    click.Context(
        respool, info_name="respool", **(respool.context_settings | {"max_content_width": 9999, "terminal_width": 9999})
    )
)


def words(text: str) -> str:
    """The text with single spaces, without backticks, which a page shows as bold."""
    return " ".join(text.replace("`", "").split())


def read(roff: str) -> str:
    """The words of a page: without requests and fonts, its escapes resolved."""
    lines = [line.removeprefix(".SH ") for line in roff.splitlines() if not line.startswith((".TP", ".PP", ".TH"))]
    text = re.sub(r"\\f[BR]", "", "\n".join(lines))
    text = re.sub(r"\\\[u([0-9A-F]{4,})\]", lambda found: chr(int(found[1], 16)), text)
    return words(re.sub(r"\\(?:\(..|.)", lambda found: ESCAPES[found[0]], text))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of this program."""
    out = tmp_path_factory.mktemp("man") / "new" / "man1"
    assert call(["man", "-o", str(out)]) == 0
    return out


def test_every_command_has_a_page(folder: Path) -> None:
    """One file for each command and each group, and no others."""
    expected = {f"{context.command_path.replace(' ', '-')}.1" for context in EVERY}
    assert len(expected) > 40
    assert {path.name for path in folder.iterdir()} == expected


@pytest.mark.parametrize("context", EVERY, ids=lambda context: context.command_path)
def test_a_page_has_the_words_of_the_help(folder: Path, context: click.Context) -> None:
    """Every line that --help prints stands in the page: usage, description, and each option with its text and default."""
    said = read((folder / f"{context.command_path.replace(' ', '-')}.1").read_text())
    help_, _, _ = context.get_help().removeprefix("Usage: ").replace("\nOptions:\n", "\n").partition("\nCommands:\n")
    lines = [words(line) for line in help_.splitlines() if line.strip()]
    assert len(lines) > 2
    assert [line for line in lines if line not in said] == []
    assert lines[-1] == "-h, --help Show this message and exit."
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            assert f"{context.command_path.replace(' ', '-')}-{name}(1)" in said


def test_what_roff_would_read_as_a_request_stays_words() -> None:
    """Lines that begin with a point or a quote, backslashes and letters beyond ASCII come through."""
    help_ = ".B is a macro.\n\n'quoted' \\fIpath\\fP ~ ^ \"x\" naïve – `a-b` 𝄞.\n\n.TP is not one here."

    @click.command(help=help_)
    @click.option("--suffix", help=".mkv or 'none', and an odd ` too.")
    def odd(suffix: str) -> None:
        """Do nothing."""

    made = page(click.Context(odd, info_name="odd"), "1")
    assert made.isascii()
    assert words(help_) in read(made)
    assert "--suffix TEXT .mkv or 'none', and an odd too." in read(made)


def test_pages_are_the_same_bytes_each_time() -> None:
    """No date and no path of this machine is in them."""
    first, second = (dict(manual(click.Context(respool, info_name="respool"), "1")) for _ in range(2))
    assert first == second
    assert str(Path.home()) not in "".join(first.values())


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_has_no_complaint(folder: Path) -> None:
    """Every page is rendered without a warning, and `run`'s shows an option as it is typed."""
    pages = sorted(folder.iterdir())
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-c", "-rLL=72n", *pages], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "--on-unheld [refuse|sidecar|convert|drop]" in re.sub(r".\x08", "", done.stdout)
