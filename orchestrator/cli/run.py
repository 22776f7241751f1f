"""respool run: one machine, from start to finish."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contract.errors import RespoolError, Unreachable, UsageError
from contract.settings import Settings
from contract.severity import Severity
from orchestrator.cli.common import check_reachable, command
from orchestrator.cli.exits import Exit
from orchestrator.cli.expected import expected_time, running
from orchestrator.cli.job_file import job_file_options, save_job
from orchestrator.cli.options import fail_on_option, job_options, priority_option, sequence_option, spec_of
from orchestrator.cli.output import Output
from orchestrator.cli.terminal import echo
from orchestrator.submission.model_choice import with_model

if TYPE_CHECKING:
    from contract.job import Job, Spec
    from orchestrator.cli.display import Display
    from orchestrator.jobs.client import Jobs
    from orchestrator.jobs.status import JobStatus
    from orchestrator.local import Cluster
    from orchestrator.submission.submit import Draft


_UNFIT_S = 15.0
"""Seconds after which a machine whose every worker has withdrawn itself is reported: a worker tests itself again before."""


class WorkersGone(RespoolError):
    """Raised when no worker of the embedded cluster is left and none will be restarted."""


@command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SRC...")
@click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(path_type=Path),
    help="File, or folder that mirrors SRC (default: SRC with -restored in its name, beside it).",
)
@job_file_options
@sequence_option
@job_options
@priority_option
@click.option("--force", is_flag=True, help="Replace files that exist in OUT.")
@click.option("--change-map", is_flag=True, help="Write maps of where results differ from plain resampling.")
@fail_on_option
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes (default: one a GPU, else one).")
@click.option("--json", "events", is_flag=True, help="Write events on stdout, one JSON object a line.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and stop before any work.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option(
    "--on-done",
    metavar="COMMAND",
    help="Run a command at the end of the job; RESPOOL_JOB, RESPOOL_STATE_OF_JOB and RESPOOL_OUT tell it of what.",
)
def run(
    settings: Settings,
    sources: tuple[Path, ...],
    out: Path | None,
    force: bool,
    change_map: bool,
    fail_on: Severity,
    workers: int | None,
    sequence: Fraction | None,
    events: bool,
    quiet: bool,
    dry_run: bool,
    on_done: str | None,
    **options: Any,
) -> int:
    """Restore films and photographs from start to finish.

    After a stop or a kill, the same command resumes the work. OUT with the suffix of a film or image and one SRC is that file, else a folder that mirrors the sources.
    """
    from orchestrator.cli.display import display
    from orchestrator.submission.card_encoders import check_machine, check_workers
    from orchestrator.submission.outlook import refuse_full_disk
    from orchestrator.submission.sequence import gathered
    from orchestrator.submission.submit import draft

    _check_flags(events, quiet, dry_run, workers)
    output = Output.of(out, sources, force, folders=sequence is not None)
    spec = spec_of(options, output.path if output.single else None)
    output.check(sources)
    if saved := save_job(click.get_current_context()):
        echo(f"options of this command: {saved}; `respool run SRC --job {saved}` uses them again.", err=True)
    with (
        _signals(),
        display("json" if events else "quiet" if quiet else "shown") as show,
        gathered(sources, sequence, settings, show.transfer) as found,
    ):
        spec, looked = with_model(spec, found, show.say)
        checked = draft(looked, spec, settings)  # errors of a source are reported before any server starts
        if settings.embedded:
            check_machine(checked.films)
        doubt = refuse_full_disk(
            checked.films,
            sum(i.size for i in checked.items),
            settings.state if settings.embedded else None,
            output.path,
        )
        with running(settings) if dry_run else cluster_for(settings, workers) as cluster:
            waits = "" if settings.embedded else check_workers(checked.films, settings)
            time_ = expected_time(checked.wanted, settings, cluster, dry_run)
            for line in filter(None, (*checked.outlook(time_), doubt, waits)):
                show.say(line)
            if dry_run:
                return Exit.DONE
            wired = cluster.settings if cluster else settings
            state = cluster.folder.path if cluster else None
            restoration = Restoration(checked, spec, options["priority"], output, change_map, fail_on, state, on_done)
            return restoration.run(wired, show, watch_over(cluster))


def _check_flags(events: bool, quiet: bool, dry_run: bool, workers: int | None) -> None:
    if events and quiet:
        raise UsageError("--quiet does not go with --json, whose events are for programs; leave one out.")
    if dry_run and workers is not None:
        echo("note: --workers counts once the work starts; a dry run starts none.", err=True)


@contextmanager
def _signals() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does; the handlers are as before at the end."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def cluster_for(settings: Settings, workers: int | None) -> AbstractContextManager[Cluster | None]:
    """Start or attach to the embedded cluster; none where RESPOOL_* names a real cluster, which must answer."""
    if not settings.embedded:
        if workers is not None:
            raise UsageError(
                "--workers is for the embedded cluster, but RESPOOL_REDIS_URL or RESPOOL_S3_ENDPOINT is set."
            )
        check_reachable(settings)
        return nullcontext()
    from orchestrator.local import start

    cluster = start(settings, workers)
    if workers is not None and not cluster.owned:
        echo(f"note: using the cluster that runs in {settings.state}, with its present workers.", err=True)
    return cluster


def watch_over(cluster: Cluster | None) -> Callable[[], None] | None:
    """Return a check of the embedded cluster that raises WorkersGone when no worker is left."""
    if cluster is None:
        return None

    from stores.ledger import Ledger

    ledger, fit_at = Ledger(cluster.settings), time.monotonic()

    def look() -> None:
        nonlocal fit_at
        life = cluster.life
        roles = {process.role for process in life.processes}
        if life.problems and not {"worker", "orchestrator", "redis", "s3"} <= roles:
            raise WorkersGone(life.problems[-1])
        try:
            problems = [str(info.get("problem") or "") for info in ledger.workers().values()]
        except Unreachable:  # Redis is restarting; who follows the job waits for it
            return
        if not problems or not all(problems):
            fit_at = time.monotonic()
        elif time.monotonic() - fit_at > _UNFIT_S:
            raise WorkersGone(
                f"no worker can work ({problems[0]}); mend that, and repeat the command, which resumes the job."
            )

    return look


def call_back(command: str, job: str, state: str, out: Path) -> None:
    """Run the user's `command`, without a shell, and tell of a failure; the job's end and exit code stay as they are."""
    facts = {"RESPOOL_JOB": job, "RESPOOL_STATE_OF_JOB": state, "RESPOOL_OUT": str(out.absolute())}
    try:
        done = subprocess.run(shlex.split(command), env={**os.environ, **facts}, stdin=subprocess.DEVNULL, check=False)
    except (OSError, ValueError) as error:
        echo(f"--on-done {command!r} could not be run: {error}.", err=True)
        return
    if done.returncode:
        echo(f"--on-done {command!r} ended with {done.returncode}.", err=True)


@dataclass(frozen=True)
class Restoration:
    """Request of one `respool run`: checked sources, their spec, and the place of results.

    `state` is the folder of the embedded cluster, None for a real one.
    """

    sources: Draft
    spec: Spec
    priority: int
    output: Output
    change_map: bool
    fail_on: Severity
    state: Path | None = None
    on_done: str | None = None

    def run(self, settings: Settings, show: Display, look: Callable[[], None] | None) -> int:
        """Submit, follow and fetch; return the exit code. `look` is called meanwhile and raises when no worker is left.

        A job that has not ended when the command does is parked, and so are those of commands that were killed before.
        """
        from orchestrator.cli.follow import conclude
        from orchestrator.job_store import Records
        from orchestrator.jobs.client import Jobs
        from orchestrator.local.attended import attending, park_abandoned
        from orchestrator.submission.previous_results import standing
        from orchestrator.submission.submit import Hooks, submit
        from stores.storage import Storage

        jobs, output = Jobs(settings), self.output

        def approve(job: Job) -> None:
            originals = [file.path for file in self.sources.files]
            output.approve(job.items, jobs.manifest(job.id), originals, job.spec.masks)

        def finished(job: Job) -> set[int]:
            return (
                set() if output.single or output.force else standing(job, Records(Storage(settings)), output.expected)
            )

        if self.state is not None:
            for abandoned in park_abandoned(jobs, self.state):
                show.say(f"job {abandoned} of a command that was killed is parked; its own command goes on with it.")
        hooks = Hooks(show.transfer, approve, finished)
        submission = submit(self.sources, self.spec, settings, self.priority, hooks)
        job = submission.job.id
        if submission.kept:
            show.result(f"{submission.kept} files in {output.path} exist from an earlier run and were kept")
            if submission.kept == len(self.sources.items):
                return Exit.DONE
        try:
            with attending(jobs, job, self.state):
                try:
                    if submission.known:
                        _resume(jobs, job)
                    status = self._deliver(jobs, job, settings, show, look)
                except KeyboardInterrupt:
                    show.say("stopping; the chunk at hand is handed back.")
                    raise
        except KeyboardInterrupt:
            show.say(
                f"stopped; job {job} is parked with its finished chunks: the same command goes on with it, and "
                f"`respool cancel {job}` gives it up."
            )
            return Exit.CANCELLED
        for note in output.notes:
            echo(f"note: {note}", err=True)
        code = conclude(status, self.fail_on)
        if self.on_done is not None:
            call_back(self.on_done, job, status.state, output.path)
        return code

    def _deliver(
        self, jobs: Jobs, job: str, settings: Settings, show: Display, look: Callable[[], None] | None
    ) -> JobStatus:
        """Follow the job and write its results; Ctrl-C has no effect from then on, as only the cluster is left to end."""
        from orchestrator.cli.follow import follow
        from orchestrator.cli.output import write_beside
        from orchestrator.jobs.job_record import Trail

        output = self.output
        status = follow(jobs, job, show, look)
        if status.state != "cancelled":
            paths = jobs.fetch(job, output.place, lambda done, total: show.transfer("fetching", done, total))
            beside = write_beside(output, paths, status.failures, Trail(settings) if self.change_map else None, job)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            for path in [*paths, *beside] if output.single else beside:
                show.result(path)
            if not output.single:
                made = jobs.manifest(job)
                show.result(f"{len(made.files) if made else 0} of {status.items} files in {output.path}")
        return status


def _resume(jobs: Jobs, job: str) -> None:
    """Resume a job from an earlier run: unpause it, and reopen it when it was cancelled or an item failed."""
    status = jobs.status(job)
    if status.state == "paused":
        jobs.control(job, paused=False)
    elif status.state in ("cancelled", "failed"):
        jobs.retry(job)
