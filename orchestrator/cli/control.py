"""respool cancel, pause, resume, retry: what to do with a job that is on its way or has ended."""

from __future__ import annotations

import click

from contract.settings import Settings
from orchestrator.cli.common import command, connected


@command()
@click.argument("job")
def cancel(settings: Settings, job: str) -> None:
    """End a job before its end.

    What is done of it is kept, and `respool retry` opens it again.
    """
    from orchestrator.jobs.client import Jobs

    with connected(settings) as wired:
        Jobs(wired).control(job, cancelled=True)


@command()
@click.argument("job")
def pause(settings: Settings, job: str) -> None:
    """Let a job rest.

    Workers hand its chunks back and take those of other jobs.
    """
    from orchestrator.jobs.client import Jobs

    with connected(settings) as wired:
        Jobs(wired).control(job, paused=True)


@command()
@click.argument("job")
def resume(settings: Settings, job: str) -> None:
    """Let a paused job go on."""
    from orchestrator.jobs.client import Jobs

    with connected(settings) as wired:
        Jobs(wired).control(job, paused=False)


@command()
@click.argument("job")
def retry(settings: Settings, job: str) -> None:
    """Open a failed or cancelled job again.

    Only what failed, or was not done yet, is done.
    """
    from orchestrator.jobs.client import Jobs

    with connected(settings) as wired:
        chunks = Jobs(wired).retry(job)
    click.echo(f"{chunks} chunks of job {job} will be done again.", err=True)
