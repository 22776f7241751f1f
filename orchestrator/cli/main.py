"""The command `respool`: imports the subcommand's module, and turns every end into an exit code and one sentence.

A module is imported when its command is named, and imports what it needs when it runs: `respool --help`
loads neither boto3 nor celery nor av, and nothing here ever loads torch.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module

import click
from click_didyoumean import DYMGroup

from contract.errors import RespoolError
from orchestrator.cli.common import remember
from orchestrator.cli.exits import Exit, exit_of
from orchestrator.cli.terminal import echo

_COMMANDS = {
    "run": "run",
    "up": "cluster",
    "down": "cluster",
    "submit": "submit",
    "status": "jobs",
    "watch": "jobs",
    "fetch": "jobs",
    "cancel": "control",
    "pause": "control",
    "resume": "control",
    "retry": "control",
    "workers": "workers",
    "scale": "workers",
    "probe": "probe",
    "estimate": "estimate",
    "preview": "preview",
    "compare": "evidence",
    "report": "evidence",
    "verify": "evidence",
    "models": "models",
    "degrade": "quality",
    "evaluate": "quality",
    "finetune": "training",
    "train": "training",
    "training": "training_runs",
    "damage": "damage",
    "worker": "serve",
    "orchestrator": "serve",
    "flower": "flower",
    "doctor": "doctor",
    "gc": "gc",
    "completion": "completion",
    "man": "man",
}
"""Subcommand -> its module in this package, in the order of `respool --help`."""


class Commands(DYMGroup):  # type: ignore[misc]
    """Group of the subcommands, each imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the subcommands in the order of `respool --help`."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand; None for an unknown name."""
        del ctx
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(import_module(f"orchestrator.cli.{module}"), cmd_name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="respool")
@click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=lambda ctx, _, on: remember(ctx, on),
    help="Show the traceback of an error.",
)
def respool() -> None:
    """Restore archives of film and photographs, on this machine or on a GPU cluster.

    One machine, start to finish:  respool run film.mp4 -o restored.mp4

    Exit codes: 0 done; 1 finished with failed items; 2 usage or bad input; 3 cannot reach Redis or S3; 4 cancelled.
    """


def main(argv: list[str] | None = None) -> None:
    """Run the console script."""
    sys.exit(call(sys.argv[1:] if argv is None else argv))


def call(argv: list[str]) -> int:
    """Run one command line and return its exit code; an error is one sentence on stderr."""
    flags = {"debug": False}
    try:
        result = respool.main(args=argv, prog_name="respool", standalone_mode=False, obj=flags)
        sys.stdout.flush()
        return int(result or Exit.DONE)
    except click.exceptions.NoArgsIsHelpError as error:
        echo(error.format_message())
        return Exit.USAGE
    except click.ClickException as error:
        return _say(error.format_message(), Exit.USAGE)
    except (KeyboardInterrupt, click.Abort):
        return _say("stopped by Ctrl-C.", Exit.CANCELLED)
    except BrokenPipeError:  # the reader (`| head`) has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except Exception as error:
        if flags["debug"]:
            traceback.print_exc()
        if isinstance(error, RespoolError):
            return _say(str(error), exit_of(error))
        if isinstance(error, OSError) and error.strerror:
            return _say(f"the system refused {error.filename or 'an operation'}: {error.strerror}.", Exit.FAILED)
        what = f"{type(error).__name__}: {error}".rstrip(".: ")
        return _say(f"unexpected {what}; repeat the command with --debug and report what it prints.", Exit.FAILED)


def _say(sentence: str, code: Exit) -> int:
    echo(f"respool: {' '.join(sentence.split())}", err=True)
    return code


if __name__ == "__main__":
    main()
