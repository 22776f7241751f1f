"""respool preview: a few frames before and after, on one sheet."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import msgspec

from contract.errors import UsageError
from contract.settings import Settings
from contract.time_filters import asked, options_of
from orchestrator.cli.common import command, refuse_given
from orchestrator.cli.exits import Exit
from orchestrator.cli.options import job_options, spec_of
from orchestrator.cli.output import Output
from orchestrator.cli.terminal import echo
from orchestrator.submission.model_choice import with_model

_OF_FILMS = (
    *("codec", "crf", "preset", "pix_fmt", "container", "faststart", "image_format", "deinterlace", "hdr", "on_unheld"),
    *("video_stream", "program", "chunk_frames", "profile", "masks"),
)
"""Options of how films are read and results written: a preview decodes frames as they are, and writes PNG."""


@command()
@click.argument("source", type=click.Path(path_type=Path), metavar="SRC")
@click.option(
    "--frames", type=click.IntRange(1, 64), default=8, show_default=True, help="Frames to show, evenly spread."
)
@click.option("-o", "--output", "out", required=True, type=click.Path(path_type=Path), help="PNG file to write.")
@job_options
@click.option("--force", is_flag=True, help="Replace an existing file.")
def preview(settings: Settings, source: Path, frames: int, out: Path, force: bool, **options: Any) -> int:
    """Restore a few frames and show them beside the source.

    SRC is a film or an image; the sheet is a PNG with a row for each frame, the source on the left.
    """
    from orchestrator.cli.display import display
    from orchestrator.cli.follow import conclude, follow
    from orchestrator.cli.run import cluster_for, watch_over
    from orchestrator.comparison.preview import pick, sheet
    from orchestrator.jobs.client import Jobs
    from orchestrator.submission.sources import find
    from orchestrator.submission.submit import Hooks, draft, submit

    refuse_given(_OF_FILMS, "changes nothing in a preview, whose frames are single pictures; leave it out.")
    if out.suffix.lower() != ".png":
        raise UsageError(f"{out} is not a PNG; give -o a name that ends in .png.")
    if source.is_dir():
        raise UsageError(f"{source} is a folder; name one film or image.")
    found = find([source])
    Output(out, single=True, force=force).check([source])
    if out.exists() and not force:
        raise UsageError(f"{out} exists already; name another -o, or add --force.")
    spec = msgspec.structs.replace(spec_of(options), image_format="png")
    spec, _ = with_model(spec, found, lambda words: echo(words, err=True))
    if filters := asked(spec):
        names, needs, it = options_of(filters)
        raise UsageError(f"{names} {needs} neighbouring frames, which a preview's do not have; leave {it} out.")
    with tempfile.TemporaryDirectory(prefix="respool-preview-") as folder:
        before = Path(folder, "before")
        before.mkdir()
        picked = pick(source, frames, before, spec.piece)
        spec = msgspec.structs.replace(spec, piece=None)  # what is restored are the frames alone
        checked = draft(picked, spec, settings)
        with display() as show, cluster_for(settings, None) as cluster:
            wired = cluster.settings if cluster else settings
            jobs = Jobs(wired)
            job = submit(checked, spec, wired, 9, Hooks(show.transfer)).job
            status = follow(jobs, job.id, show, watch_over(cluster))
            if status.state != "cancelled":
                after = jobs.fetch(job.id, lambda file: Path(folder, "after", f"{file.item}.png"))
                made = {int(path.stem): path for path in after}
                pairs = [(path, made[n]) for n, path in enumerate(sorted(picked)) if n in made]
                if pairs:
                    sheet(pairs, out)
                    echo(out)
    return Exit(conclude(status))
