"""Job files: the options of a `run` or `submit` in a TOML file, for work that is done every week."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_NOT_SAVED = {"sources", "out", "state", "force", "job", "save_job"}
"""Parameters that belong to one command and not to a kind of work."""


def job_file_options(function: F) -> F:
    """Add --job, whose file gives options that the command line leaves out, and --save-job, which writes one."""
    load = click.option(
        "--job",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        callback=_load,
        is_eager=True,
        expose_value=False,
        metavar="FILE",
        help="TOML file of options; those on the command line go before it.",
    )
    save = click.option(
        "--save-job",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        callback=_save,
        expose_value=False,
        help="Write the options of this command to a file for --job.",
    )
    return load(save(function))


def _load(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    del param
    if path is None:
        return
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.BadParameter(f"{path} is not a job file: {error}.") from error
    known = {option[2:]: p for p in ctx.command.params for option in p.opts if option.startswith("--")}
    for name, value in values.items():
        if name not in known or known[name].name in _NOT_SAVED:
            raise click.BadParameter(
                f"{path} has {name!r}, which is no option that a job file may hold; remove the line."
            )
        if isinstance(value, dict):
            raise click.BadParameter(f"{path} has a table {name!r}; a job file is a list of NAME = VALUE.")
    ctx.default_map = {str(known[name].name): value for name, value in values.items()}


def _save(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Remember the file; it is written by `save_job` once all options are known to be valid."""
    del param
    ctx.meta["respool.save_job"] = path


def save_job(ctx: click.Context) -> Path | None:
    """Write the options that were given to the file that --save-job names; return it, None without one."""
    path: Path | None = ctx.meta.get("respool.save_job")
    if path is None:
        return None
    given = (click.core.ParameterSource.COMMANDLINE, click.core.ParameterSource.DEFAULT_MAP)
    lines = []
    for parameter in ctx.command.params:
        name = str(parameter.name)
        if name in _NOT_SAVED or name not in ctx.params or ctx.get_parameter_source(name) not in given:
            continue
        option = next(o for o in parameter.opts if o.startswith("--")).removeprefix("--")
        lines.append(f"{option} = {_toml(name, ctx.params[name])}\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def _toml(name: str, value: object) -> str:
    """Return `value` as the command line would take it again, in TOML, whose strings, numbers and lists JSON's are."""
    if name == "tile":
        value = "auto" if value == 0 else str(value)
    if name == "face_exclude" and isinstance(value, tuple):
        value = [",".join(map(str, box)) for box in value]
    if not isinstance(value, bool | int | float | list):
        value = str(value)
    return json.dumps(value)
