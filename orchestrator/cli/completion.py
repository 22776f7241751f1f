"""respool completion: the script by which a shell completes commands, options and their choices."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from orchestrator.cli.terminal import echo


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    Bash and zsh read it by `source <(respool completion bash)`, fish by `respool completion fish | source`, each in its start-up file.
    """
    kind = get_completion_class(shell)
    assert kind is not None, shell
    echo(kind(ctx.find_root().command, {}, "respool", "_RESPOOL_COMPLETE").source())
