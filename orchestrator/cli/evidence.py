"""respool verify, compare, report: results held against records, sources and plain resampling."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from contract.errors import RespoolError, UsageError
from contract.settings import Settings
from orchestrator.cli.common import command, connected
from orchestrator.cli.exits import Exit
from orchestrator.cli.terminal import echo

if TYPE_CHECKING:
    from orchestrator.provenance.verify import Finding
    from orchestrator.result_record import Record


@command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="OUT...")
@click.option(
    "--source",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The file OUT was made of, to check that too.",
)
@click.option(
    "--decode",
    is_flag=True,
    help="Decode films to their end: streams, frames, times, sound, against record and source where they can be had.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; its fields are only ever added to.")
def verify(settings: Settings, paths: tuple[Path, ...], source: Path | None, decode: bool, as_json: bool) -> int:
    """Check old results against their records.

    OUT is a result, a folder of results, or a bag. A picture carries the hash of its pixels in itself; a film is held
    against the records of the cluster that made it, or those in its bag. With --decode a film is also read by a decoder,
    without a cluster, and the words say what was checked and what was not.
    """
    import msgspec

    from orchestrator.provenance.verify import verify as check
    from orchestrator.sandbox.parent import Confined

    with closing(Confined(settings, ahead=False)) as confined:
        plan = confined.plan if decode else None
        findings = [finding for path in paths for finding in check(path, _recorded(settings), source, plan)]
    if as_json:
        echo(msgspec.json.format(msgspec.json.encode([_facts(finding) for finding in findings]), indent=2))
    else:
        for finding in findings:
            said = f"NOT VERIFIED: {finding.fault}" if finding.fault else f"verified by {finding.how}"
            echo(f"{finding.path}: {said}")
            if finding.decode is not None:
                for words in finding.decode.checked:
                    echo(f"  checked: {words}.")
                for words in finding.decode.unchecked:
                    echo(f"  not checked: {words}.")
            if finding.made is not None and not finding.fault:
                echo(f"  {finding.made.statement} Source {finding.made.source_sha256}.")
            if finding.masks is not None and not finding.fault:
                echo(f"  {finding.masks.statement} Source {finding.masks.source_sha256}.")
    return Exit.FAILED if any(finding.fault for finding in findings) else Exit.DONE


def _recorded(settings: Settings) -> Callable[[str], list[Record]]:
    """Read the records of a job from a cluster that can be reached; an absent cluster does not count against the file."""

    def find(job: str) -> list[Record]:
        from orchestrator.jobs.job_record import Trail

        try:
            with connected(settings) as wired:
                return Trail(wired).known(job)
        except RespoolError:
            return []

    return find


def _facts(finding: Finding) -> dict[str, object]:
    import msgspec

    from contract import provenance

    facts: dict[str, object] = {
        "path": str(finding.path),
        "verified": not finding.fault,
        "by": finding.how,
        "fault": finding.fault,
        "made": None if finding.made is None else provenance.facts(finding.made),
        "masks": None if finding.masks is None else msgspec.to_builtins(finding.masks),
    }
    return facts if finding.decode is None else facts | {"decode": msgspec.to_builtins(finding.decode)}


@command()
@click.argument("before", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.argument("after", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("-o", "--output", "out", required=True, type=click.Path(path_type=Path), help="PNG file to write.")
@click.option("--frames", type=click.IntRange(1, 64), default=4, show_default=True, help="Frames of a film to show.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def compare(settings: Settings, before: Path, after: Path, out: Path, frames: int, force: bool) -> int:
    """Show a source and its result side by side.

    BEFORE is a film or an image, AFTER its result. The sheet is a PNG: nearest, Lanczos and enhanced, and the detail that
    changed most.
    """
    from orchestrator.comparison.before_after import pairs
    from orchestrator.comparison.contact_sheet import write_sheet
    from orchestrator.provenance.verify import embedded

    del settings
    if out.suffix.lower() != ".png":
        raise UsageError(f"{out} is not a PNG; give -o a name that ends in .png.")
    _free(out, force)
    made = embedded(after)
    write_sheet(list(pairs(before, after, frames, piece=made.piece if made else None)), out)
    echo(out)
    return Exit.DONE


@command()
@click.argument("job")
@click.option("-o", "--output", "out", required=True, type=click.Path(path_type=Path), help="HTML file to write.")
@click.option(
    "--pairs", type=click.IntRange(0, 64), default=6, show_default=True, help="Pictures to show before and after."
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def report(settings: Settings, job: str, out: Path, pairs: int, force: bool) -> int:
    """Write a job's report as one self-contained page.

    Before and after with sliders and change maps, time by chunk and worker, damage, failures and provenance; it opens
    from disk without a network.
    """
    from orchestrator.jobs.client import Jobs
    from orchestrator.jobs.job_record import Trail
    from stores.atomic_files import write_atomically

    _free(out, force)
    with connected(settings) as wired:
        page = Trail(wired).report(Jobs(wired).full_id(job), pairs)
    write_atomically(out, page)
    echo(out)
    return Exit.DONE


def _free(out: Path, force: bool) -> None:
    if out.exists() and not force:
        raise UsageError(f"{out} exists already; name another -o, or add --force.")
