"""No command takes an option that it does not read: each is honoured, or refused in one sentence."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from contract.job import Spec
from orchestrator.cli.main import call, respool
from orchestrator.cli.options import _OPTIONS, job_options, spec_of


def commands(group: click.Group, path: str = "") -> list[tuple[str, click.Command]]:
    """Find every command that is no group, by the words that are typed for it."""
    found: list[tuple[str, click.Command]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        words = f"{path} {name}".strip()
        found += commands(command, words) if isinstance(command, click.Group) else [(words, command)]
    return found


EVERY = commands(respool)


def body(command: click.Command) -> tuple[list[str], ast.FunctionDef]:
    """Return the parameters of the function behind a command, and its source."""
    assert command.callback is not None
    inner = inspect.getclosurevars(command.callback).nonlocals.get("function", command.callback)
    function: Callable[..., Any] = inspect.unwrap(inner)
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(tree, ast.FunctionDef)
    return [argument.arg for argument in (*tree.args.args, *tree.args.kwonlyargs)], tree


@pytest.mark.parametrize(("name", "command"), EVERY, ids=[name for name, _ in EVERY])
def test_every_option_of_a_command_is_read(name: str, command: click.Command) -> None:
    """Each parameter is one of the function's own, which it reads, or a spec's option, which `spec_of` reads."""
    arguments, tree = body(command)
    read = {
        node.id
        for statement in tree.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    keys = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    spec = {str(parameter.name) for parameter in work.params} if "spec_of" in read else set()
    rest = tree.args.kwarg.arg if tree.args.kwarg else ""
    whole = rest in read and "spec_of" not in read  # of a training run's recipe, which is decoded strictly
    for parameter in command.params:
        known = str(parameter.name)
        if known in ("state", "help") or not parameter.expose_value:
            continue  # read by what makes every command
        assert known in read if known in arguments else whole or known in spec | keys, (
            f"{name} ignores {parameter.opts}"
        )


@click.command()
@job_options
def work(**options: Any) -> None:
    """Make the spec that the options ask for."""
    work.made = spec_of(options)  # type: ignore[attr-defined]


def made(*argv: str) -> Spec:
    work.main(list(argv), standalone_mode=False)
    spec: Spec = work.made  # type: ignore[attr-defined]
    return spec


FACES = ("--face-enhance",)
VALUES = {
    "--model": "lanczos", "--for": "fast", "--scale": "3", "--denoise": "0.5", "--face-strength": "0.5", "--face-model": "other",
    "--face-min-size": "9", "--face-exclude": "1,2,3,4", "--precision": "fp32", "--tile": "64", "--codec": "x265", "--crf": "9",
    "--preset": "slow", "--pix-fmt": "gray", "--container": "mkv", "--image-format": "png", "--alpha": "bicubic",
    "--deinterlace": "off", "--steady": "0.5", "--grain": "0.5", "--from": "1", "--to": "9", "--on-unheld": "drop", "--video-stream": "1",
    "--program": "1", "--chunk-frames": "7", "--witness": "off", "--salvage": "50", "--white": "2", "--profile": "access",
}  # fmt: skip


@pytest.mark.parametrize("option", [max(p.opts, key=len) for p in work.params if isinstance(p, click.Option)])
def test_every_option_of_a_spec_changes_it(option: str) -> None:
    """An option that left the spec as it is would be ignored by every command that takes a spec's options."""
    assert len(_OPTIONS) == len(work.params)
    company = FACES if option.startswith("--face-") and option != "--face-enhance" else ()
    given = [option] if option not in VALUES else [option, VALUES[option]]
    assert made(*company, *given) != made(*company)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["probe", "a.png", "--priority", "9"], "No such option '--priority'"),
        (["preview", "a.png", "-o", "b.png", "--priority", "9"], "No such option '--priority'"),
        (["estimate", "a.png", "--priority", "9"], "No such option '--priority'"),
        (["preview", "a.mp4", "-o", "b.png", "--codec", "ffv1"], "--codec changes nothing in a preview"),
        (["preview", "a.mp4", "-o", "b.png", "--image-format", "tiff"], "--image-format changes nothing in a preview"),
        (["run", "a.png", "--json", "--quiet"], "--quiet does not go with --json"),
        (["fetch", "abcd", "-o", "out", "--bag", "--force"], "--force does not go with --bag"),
        (["fetch", "abcd", "-o", "out", "--bag", "--change-map"], "--change-map does not go with --bag"),
        (["scale", "2", "--namespace", "other"], "--namespace is for --on kubernetes"),
        (["scale", "2", "--on", "compose", "--release", "other"], "--release is for --on kubernetes"),
        (["scale", "2", "--on", "kubernetes", "--file", "a.yaml"], "--file is for --on compose and slurm"),
        (["scale", "2", "--on", "slurm", "--file", "a.yaml", "--file", "a.yaml"], "--on slurm takes one --file"),
        (["evaluate", "-o", "out", "--pairs", "low", "high", "--seed", "3"], "--seed draws degraded copies"),
    ],
)
def test_an_option_without_effect_is_refused(
    argv: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option that would change nothing is named, with exit code 2, before anything is done."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "a.mp4", "a.yaml"):
        (tmp_path / name).touch()
    (tmp_path / "low").mkdir()
    (tmp_path / "high").mkdir()
    assert call(argv) == 2
    assert said in capsys.readouterr().err
