"""respool cancel, pause, resume, retry: control of a job that runs or has ended."""

from __future__ import annotations

import click

from contract.settings import Settings
from orchestrator.cli.common import command, connected, started
from orchestrator.cli.terminal import echo


@command()
@click.argument("job")
def cancel(settings: Settings, job: str) -> None:
    """Cancel a job.

    Finished chunks are kept; `respool retry` opens the job again.
    """
    from orchestrator.jobs.client import Jobs

    with started(settings) as wired:
        jobs = Jobs(wired)
        jobs.control(jobs.full_id(job), cancelled=True)


@command()
@click.argument("job")
def pause(settings: Settings, job: str) -> None:
    """Pause a job.

    Workers hand its chunks back and take those of other jobs.
    """
    from orchestrator.jobs.client import Jobs

    with connected(settings) as wired:
        jobs = Jobs(wired)
        jobs.control(jobs.full_id(job), paused=True)


@command()
@click.argument("job")
def resume(settings: Settings, job: str) -> None:
    """Resume a paused job."""
    from orchestrator.jobs.client import Jobs

    with connected(settings) as wired:
        jobs = Jobs(wired)
        jobs.control(jobs.full_id(job), paused=False)


@command()
@click.argument("job")
def retry(settings: Settings, job: str) -> None:
    """Open a failed or cancelled job again.

    Only chunks that failed or are unfinished are computed.
    """
    from orchestrator.jobs.client import Jobs

    with connected(settings) as wired:
        jobs = Jobs(wired)
        job = jobs.full_id(job)
        chunks = jobs.retry(job)
    echo(f"{chunks} chunks of job {job} will be done again.", err=True)
