"""respool status, watch, fetch: state, progress and results of jobs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from contract.errors import UsageError
from contract.settings import Settings
from contract.severity import Severity
from orchestrator.cli.common import command, connected
from orchestrator.cli.options import fail_on_option
from orchestrator.cli.output import Output
from orchestrator.cli.terminal import echo

if TYPE_CHECKING:
    from orchestrator.jobs.status import JobStatus


@command()
@click.argument("job", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; its fields are only ever added to.")
def status(settings: Settings, job: str | None, as_json: bool) -> None:
    """Show one job, or all of them."""
    import msgspec

    from orchestrator.jobs.client import Jobs

    with connected(settings) as wired:
        jobs = Jobs(wired)
        found = [jobs.status(jobs.full_id(job))] if job else jobs.all_jobs()
    if as_json:
        echo(msgspec.json.format(msgspec.json.encode(found[0] if job else found), indent=2))
    elif job:
        _details(found[0])
    else:
        _table(found)


@command()
@click.argument("job")
@fail_on_option
def watch(settings: Settings, job: str, fail_on: Severity) -> int:
    """Follow a job to its end.

    The exit code tells how it ended, as for `respool run`.
    """
    from orchestrator.cli.display import display
    from orchestrator.cli.follow import conclude, follow
    from orchestrator.jobs.client import Jobs

    with connected(settings) as wired, display() as show:
        jobs = Jobs(wired)
        last = follow(jobs, jobs.full_id(job), show)
    return conclude(last, fail_on)


@command()
@click.argument("job")
@click.option(
    "-o",
    "--output",
    "out",
    required=True,
    type=click.Path(path_type=Path),
    help="File, or folder that mirrors the sources.",
)
@click.option("--force", is_flag=True, help="Replace files that exist in OUT.")
@click.option("--bag", is_flag=True, help="Make OUT a BagIt bag, with records and PREMIS beside the results.")
@click.option("--change-map", is_flag=True, help="Write maps of where results differ from plain resampling.")
def fetch(settings: Settings, job: str, out: Path, force: bool, bag: bool, change_map: bool) -> int:
    """Download a finished job's results.

    Each file arrives whole or not at all. In a folder, failures.csv lists what failed.
    """
    from orchestrator.cli.display import display
    from orchestrator.cli.follow import conclude
    from orchestrator.cli.output import write_beside
    from orchestrator.jobs.client import Jobs, unfinished
    from orchestrator.jobs.job_record import Trail

    if bag and change_map:
        raise UsageError("--change-map does not go with --bag: a bag holds the results alone; fetch twice.")
    if bag and force:
        raise UsageError("--force does not go with --bag: a bag is written to a new folder; name another.")
    with connected(settings) as wired, display() as show:
        jobs = Jobs(wired)
        job = jobs.full_id(job)
        if bag:
            echo(Trail(wired).bag(job, out))
            return conclude(jobs.status(job))
        submitted, manifest = jobs.job(job), jobs.manifest(job)
        if manifest is None:
            raise unfinished(job, jobs.status(job).state)
        single = len(submitted.items) == 1 and submitted.items[0].name.count("/") == 0
        output = Output.of(out, [Path(submitted.items[0].name)] if single else [], force, folders=True)
        output.check([])
        output.approve(submitted.items, manifest, [], submitted.spec.masks)
        paths = jobs.fetch(job, output.place, lambda done, total: show.transfer("fetching", done, total))
        last = jobs.status(job)
        paths += write_beside(output, paths, last.failures, Trail(wired) if change_map else None, job)
    for path in paths:
        echo(path)
    for note in output.notes:
        echo(f"note: {note}", err=True)
    return conclude(last)


def _table(found: list[JobStatus]) -> None:
    from orchestrator.cli.display import duration

    shared = len({s.submitter for s in found}) > 1
    lines = [("JOB", "STATE", "FRAMES", "FPS", "LEFT", *(["SUBMITTER"] if shared else []), "NAME")]
    lines += [
        (
            s.id,
            s.state + (" (blocked)" if s.blocked else " (quota)" if s.held else ""),
            f"{s.frames.done}/{s.frames.total}",
            f"{s.fps:.1f}" if s.fps else "-",
            duration(s.eta_s) if s.eta_s is not None else "-",
            *([s.submitter or "-"] if shared else []),
            s.name,
        )
        for s in found
    ]
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]) - 1)]
    for line in lines:
        echo("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]))


def _details(s: JobStatus) -> None:
    from orchestrator.cli.display import describe
    from orchestrator.cli.follow import conclude

    echo(f"{s.id}  {s.state}  {s.name}")
    by = f" by {s.submitter}" if s.submitter else ""
    echo(f"created {s.created}{by}, {s.items} items, {s.chunks.done}/{s.chunks.total} chunks")
    echo(describe(s))
    conclude(s)
