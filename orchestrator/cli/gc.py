"""respool gc: removal of objects that the store no longer needs."""

from __future__ import annotations

import click

from contract.settings import Settings
from orchestrator.cli.common import command, connected
from orchestrator.cli.terminal import echo


@command()
@click.option("--days", type=click.FloatRange(min=0), default=30.0, show_default=True, help="Keep what is younger.")
@click.option(
    "--upload-hours",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    help="Keep unfinished uploads that began later; longer than any upload takes.",
)
@click.option("--results", is_flag=True, help="Also remove results and records of ended jobs.")
@click.option("--delete", is_flag=True, help="Remove it; without this, only list it.")
def gc(settings: Settings, days: float, upload_hours: float, results: bool, delete: bool) -> None:
    """Remove what ended jobs and killed uploads left in the store.

    Lists what would be removed; removes it only with --delete.
    """
    from datetime import UTC, datetime, timedelta

    from orchestrator.jobs import retention
    from stores.storage import Storage

    with connected(settings) as wired:
        storage = Storage(wired)
        count = size = 0
        for sweep in retention.find(storage, timedelta(days=days), results, datetime.now(UTC)):
            echo(f"{sweep.job}  {len(sweep.objects):6} objects  {sweep.size / 1e6:10.1f} MB  {sweep.reason}")
            if delete and not retention.remove(storage, sweep):
                echo(f"job {sweep.job} was opened again in this moment; all of it stays.", err=True)
                continue
            count, size = count + len(sweep.objects), size + sweep.size
        for key in retention.unused_marks(storage, timedelta(days=days), datetime.now(UTC)):
            echo(f"{key}  the mark of a job that is gone")
            if delete:
                storage.delete(key)
            count += 1
        uploads, parts = 0, 0
        for upload, held in retention.unfinished_uploads(storage, timedelta(hours=upload_hours), datetime.now(UTC)):
            begun = upload.begun.isoformat(timespec="seconds")
            echo(f"{upload.key}  {held / 1e6:10.1f} MB  an upload that began at {begun} and never ended")
            if delete:
                storage.abort(upload)
            uploads, parts = uploads + 1, parts + held
    verb = "removed" if delete else "would go; --delete removes them"
    echo(
        f"{count} objects, {size / 1e6:.1f} MB, and {uploads} unfinished uploads, {parts / 1e6:.1f} MB, {verb}.",
        err=True,
    )
