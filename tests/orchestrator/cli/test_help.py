"""Every command can be learned from its help and from the README, and help costs next to nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from orchestrator.cli.exits import Exit, exit_of
from orchestrator.cli.main import respool

ROOT = Path(__file__).parents[3]


def commands() -> list[tuple[str, click.Command]]:
    """(name as typed, command) of every command, those of groups too."""
    found: list[tuple[str, click.Command]] = []
    context = click.Context(respool)
    for name in respool.list_commands(context):
        command = respool.get_command(context, name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {below}", command.commands[below]) for below in command.commands]
    return found


@pytest.mark.parametrize(("name", "command"), commands())
def test_every_command_and_option_has_help(name: str, command: click.Command) -> None:
    """A command without a docstring, or an option without a help text, is not finished."""
    assert command.help, name
    assert command.help.splitlines()[0].endswith("."), name
    assert len(command.help.splitlines()[0]) <= 60, f"the first line of {name} is cut off in `respool --help`"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts}"


@pytest.mark.parametrize(("name", "command"), commands())
def test_every_command_is_in_the_readme(name: str, command: click.Command) -> None:
    """The README names every command, and every option of `run`."""
    text = (ROOT / "README.md").read_text()
    assert f"respool {name}" in text, name
    if name == "run":
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert f"`{parameter.opts[-1]}" in text, parameter.opts


def test_help_loads_nothing_heavy() -> None:
    """`respool --help` imports every command's module, and none of them boto3, celery, av, redis, numpy or torch."""
    code = (
        "import sys; from orchestrator.cli.main import call; assert call(['--help']) == 0\n"
        "heavy = {'torch', 'cv2', 'boto3', 'celery', 'av', 'redis', 'numpy', 'pyvips', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_commands_on_jobs_load_no_media() -> None:
    """`status`, `cancel` and their like start at once: they load the clients of Redis and S3, and nothing that reads pictures."""
    code = (
        "import sys, orchestrator.jobs.client\n"
        "heavy = {'torch', 'cv2', 'celery', 'av', 'numpy', 'pyvips', 'PIL', 'tifffile'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_line_never_loads_torch() -> None:
    """Nothing that the orchestrator's side can import brings torch or OpenCV with it."""
    code = (
        "import sys, pkgutil, importlib, orchestrator, contract, weights\n"
        "for package in (orchestrator, contract, weights):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if not module.name.endswith('watchdog'): importlib.import_module(module.name)\n"
        "assert not {'torch', 'cv2', 'basicsr', 'gfpgan'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_unforeseen_error_says_how_to_see_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback without --debug: one sentence that asks for it; with --debug the traceback."""
    from orchestrator.cli import main
    from weights import models

    def broken(_settings: object) -> None:
        raise ZeroDivisionError("float division by zero")

    monkeypatch.setattr(models, "list_models", broken)
    assert main.call(["models", "list"]) == Exit.FAILED
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "ZeroDivisionError" in said
    assert "--debug" in said
    assert "Traceback" not in said
    assert main.call(["--debug", "models", "list"]) == Exit.FAILED
    assert "Traceback" in capsys.readouterr().err
    assert main.call(["models", "list", "--debug"]) == Exit.FAILED
    assert "Traceback" in capsys.readouterr().err


def test_every_error_of_ours_has_an_exit_code() -> None:
    """Errors that users can cause end with 2, servers that are away with 3, a cancelled job with 4, the rest with 1."""
    from contract import errors

    expected = {
        "UsageError": 2,
        "BadInput": 2,
        "Unsupported": 2,
        "SourceChanged": 2,
        "WeightsError": 2,
        "Unreachable": 3,
        "Cancelled": 4,
    }
    for name in dir(errors):
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, errors.RespoolError):
            assert exit_of(kind("what, which value, what to do next.")) == expected.get(name, 1), name
