"""The command line walked from end to end: help, manual page, completion, and mistyped variants of every command."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass

import click
from click.shell_completion import get_completion_class

from orchestrator.cli.main import call, respool
from orchestrator.cli.man import page

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True)
class Walked:
    """One command: its help's first sentence, its manual page, the shells that complete it and its options, and a mistyped variant.

    `answer` is the sentence that the variant gets.
    """

    words: tuple[str, ...]
    help: str
    page: str
    completed: tuple[str, ...]
    typed: str
    answer: str


def mistyped(name: str) -> str:
    """Return `name` with its last two different letters that are neighbours in the other order."""
    at = next(n for n in range(len(name) - 2, -1, -1) if name[n] != name[n + 1])
    return name[:at] + name[at + 1] + name[at] + name[at + 2 :]


def contexts(context: click.Context) -> Iterator[click.Context]:
    """Yield the contexts of all commands below a group, and of those below these."""
    assert isinstance(context.command, click.Group)
    for name in context.command.list_commands(context):
        command = context.command.get_command(context, name)
        assert command is not None
        below = click.Context(command, info_name=name, parent=context, **command.context_settings)
        yield below
        if isinstance(command, click.Group):
            yield from contexts(below)


def offered(shell: str, before: tuple[str, ...], incomplete: str) -> set[str]:
    """Return the words that a shell is given for the rest of a command line."""
    kind = get_completion_class(shell)
    assert kind is not None, shell
    complete = kind(respool, {}, "respool", "_RESPOOL_COMPLETE")
    items = complete.get_completions(list(before), incomplete)
    assert all(item.value in complete.format_completion(item) for item in items)
    return {item.value for item in items}


def said(*words: str) -> tuple[int, str]:
    """Return the exit code of a command line and its words on stderr."""
    stream = io.StringIO()
    with redirect_stderr(stream):
        code = call(list(words))
    return code, " ".join(stream.getvalue().split())


def walk() -> Iterator[Walked]:
    """Yield every command of `respool`."""
    for context in contexts(click.Context(respool, info_name="respool", **respool.context_settings)):
        words = tuple(context.command_path.split()[1:])
        options = {max(p.opts, key=len) for p in context.command.params if isinstance(p, click.Option)}
        completed = tuple(
            shell
            for shell in SHELLS
            if words[-1] in offered(shell, words[:-1], words[-1][:-1]) and options <= offered(shell, words, "--")
        )
        typed = mistyped(words[-1])
        code, answer = said(*words[:-1], typed)
        assert code == 2, (words, code, answer)
        summary = context.get_help().splitlines()[2].strip()
        yield Walked(words, summary, page(context, "1"), completed, typed, answer.removeprefix("respool: "))


def table() -> list[str]:
    """Return the walk as a table in Markdown."""
    lines = ["| command | what it does | completed in | mistyped | answer |", "| --- | --- | --- | --- | --- |"]
    for one in walk():
        typed = " ".join((*one.words[:-1], one.typed))
        lines.append(
            f"| `respool {' '.join(one.words)}` | {one.help} | {', '.join(one.completed)} | `{typed}` | {one.answer} |"
        )
    return lines
