"""Output of the command line: every line goes through here, so that no control character of a source reaches a terminal."""

from __future__ import annotations

import click

from contract.printable import printable


def echo(text: object = "", err: bool = False) -> None:
    """Print `text` (bytes are UTF-8) and a newline on stdout, or stderr with `err`; control characters become escapes."""
    click.echo(printable(text.decode() if isinstance(text, bytes) else str(text)), err=err)
