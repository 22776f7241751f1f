"""respool up, respool down: keep an embedded cluster, and end it."""

from __future__ import annotations

import click

from contract.settings import Settings
from orchestrator.cli.common import command
from orchestrator.cli.terminal import echo


@command()
@click.option("--workers", type=click.IntRange(0, 256), help="Worker processes (default: one a GPU, else one).")
@click.option("--flower", is_flag=True, help="Also start Flower, and print its address and login.")
def up(settings: Settings, workers: int | None, flower: bool) -> None:
    """Start an embedded cluster and leave it running."""
    from orchestrator.local import attach, start

    running = attach(settings)
    with running or start(settings, workers, flower, keep=True) as cluster:
        if running:
            echo(f"a cluster runs in {settings.state} already; `respool down` ends it.", err=True)
            if workers is not None:
                echo(f"--workers is for a start; `respool scale {workers}` changes this cluster's number.", err=True)
        for process in cluster.processes:
            echo(f"{process.role:<13} pid {process.pid}" + (f"  port {process.port}" if process.port else ""))
        login = cluster.credentials
        if login.flower_url:
            echo(f"Flower: {login.flower_url}  user {login.flower_user}  password {login.flower_password}")
        elif flower:
            echo("this cluster was started without Flower; end it with `respool down` first.", err=True)


@command()
def down(settings: Settings) -> None:
    """End the embedded cluster.

    Its jobs stay in the state folder and go on at the next start.
    """
    from orchestrator.local import stop

    echo("the cluster has ended." if stop(settings) else f"no cluster runs in {settings.state}.", err=True)
