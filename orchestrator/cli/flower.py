"""respool flower: Celery's own monitor, behind a login, wired to the broker that the settings name."""

from __future__ import annotations

import os
from contextlib import nullcontext

import click

from contract.errors import UsageError
from contract.settings import Settings
from orchestrator.cli.common import command, connected

_COLUMNS = "args,state,worker,received,started,runtime"


@command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=5555, show_default=True, help="Port to listen on.")
def flower(settings: Settings, host: str, port: int) -> None:
    """Run Flower in the foreground; it only watches.

    The login comes from RESPOOL_FLOWER_USER and RESPOOL_FLOWER_PASSWORD (or RESPOOL_FLOWER_PASSWORD_FILE).
    """
    if not settings.flower_password:
        raise UsageError("Flower is not started without a login; set RESPOOL_FLOWER_PASSWORD or _FILE.")
    if ":" in settings.flower_user or "," in settings.flower_user + settings.flower_password:
        raise UsageError("Flower's user takes no colon, and neither user nor password takes a comma; choose others.")
    from celery import Celery

    from stores import addresses

    # Flower needs only the broker of a cluster, so it gets no keys to S3.
    with connected(settings) if settings.embedded else nullcontext(settings) as wired:
        app = Celery("respool")
        app.conf.update(**addresses.broker(wired).conf, broker_connection_retry_on_startup=True)
        # By environment, not by option: the list of processes shows options.
        os.environ["FLOWER_BASIC_AUTH"] = f"{wired.flower_user}:{wired.flower_password}"
        os.environ.setdefault("FLOWER_TASKS_COLUMNS", _COLUMNS)
        os.environ.setdefault("FLOWER_READ_ONLY", "True")
        app.start(["flower", f"--address={host}", f"--port={port}"])
