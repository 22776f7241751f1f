"""respool man: a manual page of every command, written from the help that click prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

from orchestrator.cli.terminal import echo


@click.command()
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write to."
)
@click.pass_context
def man(ctx: click.Context, out: Path) -> None:
    """Write a manual page of every command.

    `respool man -o ~/.local/share/man/man1` puts them where `man respool` and `man respool-run` look.
    """
    from importlib.metadata import version

    from stores.atomic_files import write_atomically

    root = ctx.find_root()
    context = click.Context(root.command, info_name="respool", **root.command.context_settings)
    pages = dict(manual(context, version("respool")))
    out.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        write_atomically(out / name, text.encode())
    echo(f"{len(pages)} pages in {out}")


def manual(context: click.Context, version: str) -> Iterator[tuple[str, str]]:
    """Yield the name and text of the page of a command, then those of the commands below it."""
    yield f"{_dashed(context)}.1", page(context, version)
    for below in _below(context):
        yield from manual(below, version)


def page(context: click.Context, version: str) -> str:
    """Return the manual page of a command in the roff macros of man(7): the sentences, options and defaults of --help.

    There is no date on it, so that one version always writes the same bytes.
    """
    command = context.command
    summary, _, rest = cleandoc(command.help or "").partition("\n")
    lines = [f'.TH "{_plain(_dashed(context).upper())}" 1 "" "Respool {_plain(version)}" "Respool"']
    lines += [".nh", ".ad l"]  # names of models and options are never hyphenated
    lines += [".SH NAME", f"{_plain(_dashed(context))} \\- {_marked(summary.rstrip('.'))}"]
    usage = " ".join(command.collect_usage_pieces(context))
    lines += [".SH SYNOPSIS", f"\\fB{_plain(context.command_path)}\\fR {_plain(usage)}"]
    lines += [".SH DESCRIPTION", _line(summary), *_paragraphs(rest)]
    records = [p.get_help_record(context) for p in command.get_params(context) if isinstance(p, click.Option)]
    lines.append(".SH OPTIONS")
    for names, text in filter(None, records):
        lines += [".TP", f"\\fB{_plain(names)}\\fR", _line(text)]
    below = _below(context)
    if below:
        lines.append(".SH COMMANDS")
    for one in below:
        first = cleandoc(one.command.help or "").partition("\n")[0]
        lines += [".TP", f"\\fB{_plain(_dashed(one))}\\fR(1)", _line(first)]
    if context.parent:
        lines += [".SH SEE ALSO", f"\\fB{_plain(_dashed(context.parent))}\\fR(1)"]
    return "\n".join(lines) + "\n"


def _below(context: click.Context) -> list[click.Context]:
    """Return a context of each command of a group, in the order of its help; none for a command."""
    group = context.command
    if not isinstance(group, click.Group):
        return []
    commands = [(name, group.get_command(context, name)) for name in group.list_commands(context)]
    return [
        click.Context(one, info_name=name, parent=context, **one.context_settings)
        for name, one in commands
        if one is not None and not one.hidden
    ]


def _dashed(context: click.Context) -> str:
    return context.command_path.replace(" ", "-")


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph:
            yield from (".PP", _line(" ".join(paragraph.split())))


def _line(text: str) -> str:
    """Return `text` as one input line that roff takes for words, whatever it begins with."""
    return "\\&" + _marked(text)


def _marked(text: str) -> str:
    """Return `text` for roff, with what stands between backticks in bold."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return _plain(text)
    return "".join(f"\\fB{_plain(part)}\\fR" if turn % 2 else _plain(part) for turn, part in enumerate(parts))


_SPECIAL = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq", "|": r"|\:"}
"""Characters that roff reads or typesets as something else, and the escape of each (groff_char(7)); after a bar a line may break."""


def _plain(text: str) -> str:
    """Return `text` for roff, in ASCII."""
    return "".join(_SPECIAL.get(c, c if c.isascii() else f"\\[u{ord(c):04X}]") for c in text)
