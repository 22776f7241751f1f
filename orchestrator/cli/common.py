"""What every command shares: --state, --debug, the settings, and the cluster that is meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contract.errors import UsageError

if TYPE_CHECKING:
    from contract.settings import Settings


def remember(ctx: click.Context, on: bool) -> None:
    """Note that a traceback is wanted; `--debug` may stand before or after the command's name."""
    ctx.find_root().obj["debug"] |= on


def command(**attributes: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A click command with --state and --debug; `settings` is its first argument, unconnected."""

    def wrap(function: Callable[..., Any]) -> click.Command:
        @click.option(
            "--state",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of the embedded cluster (default: in the user's data directory).",
        )
        @click.option(
            "--debug",
            is_flag=True,
            expose_value=False,
            callback=lambda ctx, _, on: remember(ctx, on),
            help="Show the traceback of an error.",
        )
        def run(state: Path | None, **arguments: Any) -> Any:
            return function(read_settings(state), **arguments)

        run.__doc__ = function.__doc__
        run.__click_params__ = (  # type: ignore[attr-defined]
            run.__click_params__ + getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
        )
        name = attributes.pop("name", function.__name__.rstrip("_"))
        made: click.Command = click.command(name, **attributes)(run)
        return made

    return wrap


def read_settings(state: Path | None) -> Settings:
    """Settings from RESPOOL_CONFIG and RESPOOL_*, with --state before both."""
    from contract.settings import load

    settings = load() if state is None else load(state=state)
    return replace(settings, state=settings.state.expanduser().absolute())


@contextmanager
def connected(settings: Settings) -> Iterator[Settings]:
    """Settings that name a running cluster: the one in RESPOOL_*, else the embedded one that lives in the state folder."""
    if not settings.embedded:
        yield check_reachable(settings)
        return
    from orchestrator.local import attach

    cluster = attach(settings)
    if cluster is None:
        raise UsageError(
            f"no cluster runs in {settings.state}; start one with `respool up`, or name a real one with RESPOOL_REDIS_URL "
            "and RESPOOL_S3_ENDPOINT."
        )
    with cluster:
        yield cluster.settings


def check_reachable(settings: Settings) -> Settings:
    """`settings`, once Redis and S3 have answered; raises Unreachable within a few seconds otherwise."""
    from contract.ledger import Ledger
    from contract.storage import Storage

    Ledger(settings).ping()
    Storage(settings).ensure_bucket()
    return settings
