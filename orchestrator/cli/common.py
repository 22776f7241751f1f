"""Parts that all commands share: --state, --debug, the settings, and the cluster that they name."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click_didyoumean import DYMGroup

from contract.errors import Unreachable, UsageError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from contract.settings import Settings


ANSWER_S = 8.0
"""Seconds within which Redis and S3 must answer a user at a terminal."""


class Suggesting(DYMGroup):  # type: ignore[misc]
    """Group of commands that answers a mistyped one with those that may have been meant."""


def remember(ctx: click.Context, on: bool) -> None:
    """Remember that the user wants a traceback; `--debug` may come before or after the command's name."""
    ctx.find_root().obj["debug"] |= on


def command(**attributes: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a click command with --state and --debug; its first argument is `settings`, not connected yet."""

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
    """Read settings from RESPOOL_CONFIG and RESPOOL_*; --state goes before both."""
    from contract.settings import load

    settings = load() if state is None else load(state=state)
    return replace(settings, state=settings.state.expanduser().absolute())


def refuse_given(names: Collection[str], why: str) -> None:
    """Raise UsageError when the command line has one of the options whose parameters are `names`; `why` ends the sentence."""
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE
        if given and parameter.name in names:
            raise UsageError(f"{max(parameter.opts, key=len)} {why}")


@contextmanager
def connected(settings: Settings) -> Iterator[Settings]:
    """Connect to a running cluster: the one that RESPOOL_* names, else the embedded one in the state folder."""
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


@contextmanager
def started(settings: Settings) -> Iterator[Settings]:
    """Connect as `connected` does; an embedded cluster that is down has its servers started meanwhile, without workers."""
    if settings.embedded and (settings.state / "s3").is_dir():
        from orchestrator.local import start

        with start(settings, workers=0, orchestrator=False) as cluster:
            yield cluster.settings
        return
    with connected(settings) as wired:
        yield wired


def check_reachable(settings: Settings) -> Settings:
    """Return `settings` once Redis and S3 have answered; raise Unreachable after ANSWER_S otherwise.

    The clients retry for long, which suits a worker; a user at a terminal gets an answer soon.
    """
    from concurrent.futures import Future
    from threading import Thread

    from stores.ledger import Ledger
    from stores.storage import Storage

    ledger, storage = Ledger(settings), Storage(settings)  # seconds of work on a busy machine, and no server's delay
    deadline = time.monotonic() + ANSWER_S
    waiting: list[tuple[str, Future[None]]] = []
    for what, ask in (
        ("Redis (RESPOOL_REDIS_URL)", ledger.ping),
        (f"S3 at {settings.s3_endpoint or 'AWS'} (RESPOOL_S3_ENDPOINT)", storage.ensure_bucket),
    ):
        answer: Future[None] = Future()
        Thread(
            target=_answer, args=(answer, ask), daemon=True
        ).start()  # a thread that hangs must not keep the command waiting
        waiting.append((what, answer))
    for what, answer in waiting:
        try:
            answer.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError as error:
            raise Unreachable(f"{what} does not answer within {ANSWER_S:.0f} s; check that it runs.") from error
    return settings


def _answer(answer: Future[None], ask: Callable[[], None]) -> None:
    try:
        ask()
    except BaseException as error:
        answer.set_exception(error)
    else:
        answer.set_result(None)
