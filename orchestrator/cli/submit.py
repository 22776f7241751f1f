"""respool submit: submit a job to a running cluster."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from contract.settings import Settings
from contract.severity import marked, severity
from orchestrator.cli.common import command, connected
from orchestrator.cli.expected import expected_time
from orchestrator.cli.job_file import job_file_options, save_job
from orchestrator.cli.options import job_options, priority_option, sequence_option, spec_of
from orchestrator.cli.terminal import echo
from orchestrator.submission.model_choice import with_model


@command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SRC...")
@job_file_options
@sequence_option
@job_options
@priority_option
def submit(settings: Settings, sources: tuple[Path, ...], sequence: Fraction | None, **options: Any) -> None:
    """Submit a job to a running cluster; prints its id.

    The id is derived from the sources and the options, so the same submission twice is one job.
    """
    from orchestrator.cli.display import display
    from orchestrator.submission.card_encoders import check_workers
    from orchestrator.submission.sequence import gathered
    from orchestrator.submission.submit import Hooks, draft
    from orchestrator.submission.submit import submit as send

    spec = spec_of(options)
    save_job(click.get_current_context())
    with display() as show, gathered(sources, sequence, settings, show.transfer) as found:
        spec, looked = with_model(spec, found, show.say)
        checked = draft(looked, spec, settings)
        with connected(settings) as wired:
            waits = check_workers(checked.films, wired)
            for line in filter(None, (*checked.outlook(expected_time(checked.wanted, wired, None)), waits)):
                show.say(line)
            submission = send(checked, spec, wired, options["priority"], Hooks(show.transfer))
    for note in marked(submission.job.notes, submission.job.losses):
        echo(f"{severity(note)}: {note}", err=True)
    echo(submission.job.id)
