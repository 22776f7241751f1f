"""respool estimate: time, cost and storage of a job on a cluster, before it is submitted."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contract.settings import Settings
from orchestrator.cli.common import command
from orchestrator.cli.expected import known_work, running
from orchestrator.cli.options import job_options, sequence_option, spec_of
from orchestrator.cli.terminal import echo
from orchestrator.submission.model_choice import with_model

if TYPE_CHECKING:
    from orchestrator.past_pace import Work
    from orchestrator.submission.cluster_estimate import Estimate, Pace
    from orchestrator.submission.submit import Draft


@command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SRC...")
@click.option(
    "--workers", type=click.IntRange(1, 100_000), default=1, show_default=True, help="Workers of the cluster."
)
@click.option("--gpu", metavar="NAME", help="Their GPU, or a part of its name: past jobs on others do not count.")
@click.option(
    "--price", type=click.FloatRange(0), metavar="P", help="Price of one worker for an hour, in any currency."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; its fields are only ever added to.")
@sequence_option
@job_options
def estimate(
    settings: Settings,
    sources: tuple[Path, ...],
    workers: int,
    gpu: str | None,
    price: float | None,
    as_json: bool,
    sequence: Fraction | None,
    **options: Any,
) -> None:
    """Estimate time, cost and storage of a job on a cluster.

    The time comes from past jobs of the same kind on the cluster at hand, else from published measurements of the GPU;
    otherwise it is unknown. Nothing is stored.
    """
    import msgspec

    from orchestrator.submission.cluster_estimate import estimate as estimated
    from orchestrator.submission.cluster_estimate import known_pace, stored_bytes, units_of
    from orchestrator.submission.outlook import byte_range
    from orchestrator.submission.sequence import gathered
    from orchestrator.submission.submit import draft

    with gathered(sources, sequence, settings) as found:
        spec, looked = with_model(spec_of(options), found, lambda words: echo(words, err=as_json))
        checked = draft(looked, spec, settings)
    with running(settings) as cluster:
        past, silent = known_work(settings, cluster)
    images = sum(item.pixels for item in checked.items if item.kind == "image" and item.n not in checked.refused)
    units = {kind: sizes for kind, sizes in units_of(checked.films, images / 1e6).items() if sizes}
    paces = {kind: known_pace(checked.ways[kind], past, gpu) for kind in units}  # type: ignore[index]
    known = [(sizes, pace) for kind, sizes in units.items() if (pace := paces[kind]) is not None]
    time = estimated(known, workers) if known and len(known) == len(units) else None
    chunks = sum(len(sizes) for sizes in units.values())
    stored = stored_bytes(checked.films, sum(item.size for item in checked.items))
    if as_json:
        echo(
            msgspec.json.format(
                msgspec.json.encode(_facts(checked, time, price, stored) | {"workers": workers, "chunks": chunks}),
                indent=2,
            )
        )
        return
    for line in checked.outlook():
        echo(line)
    for line in _time(time, price) if time else [_unknown(checked, paces, past, gpu, silent)]:
        echo(line)
    echo(
        f"storage: about {byte_range(*stored)} in the store at the end{_uncounted(checked, spec.masks)}; later `respool gc --delete` removes all but the results"
    )


def _time(time: Estimate, price: float | None) -> list[str]:
    from orchestrator.cli.display import duration

    least, most = duration(time.least), duration(time.most)
    span = least if least == most else f"{least} to {most}"
    whom = "one worker" if time.workers == 1 else f"{time.workers} workers"
    idle = f", of which {time.workers - time.units} find no chunk" if time.workers > time.units else ""
    chunks = f"{time.units} chunk{'' if time.units == 1 else 's'}"
    told = f"time: about {span} for {whom}{idle}, {chunks} ({time.told}), without starting workers, reading and checks"
    if price is None:
        return [told, "cost: give --price, the price of a worker for an hour"]
    low, high = (f"{value:,.2f}" for value in time.cost(price))
    span = low if low == high else f"{low} to {high}"
    return [told, f"cost: about {span} for {whom} at {price:,.2f} an hour, held until the last chunk has ended"]


def _unknown(checked: Draft, paces: dict[str, Pace | None], past: list[Work], gpu: str | None, silent: str) -> str:
    """Say in one sentence what is not known, and how to learn it."""
    ways = [checked.ways[kind] for kind, pace in paces.items() if pace is None]  # type: ignore[index]
    if not ways:
        return "time and cost: unknown: no source can be restored"
    elsewhere = sorted({work.device for work in past if work.way in ways})
    but = f" (but that of {', '.join(elsewhere)} is)" if elsewhere else ""
    why = f"; {silent}" if silent else ""
    return (
        f"time and cost: unknown: the pace of {repr(gpu) if gpu else 'a worker'} with {' and '.join(ways)} is not known{but}{why}; "
        "restore a short piece with these options there (--to 20), and ask again"
    )


def _uncounted(checked: Draft, masks: bool) -> str:
    left = ["results of images"] if any(item.kind == "image" for item in checked.items) else []
    left += ["mask films"] if masks else []
    return f", {' and '.join(left)} not counted" if left else ""


def _facts(checked: Draft, time: Estimate | None, price: float | None, stored: tuple[int, int]) -> dict[str, object]:
    low, high = (
        (sum(sizes) for sizes in zip(*(film.expected for film in checked.films), strict=True))
        if checked.films
        else (0, 0)
    )
    facts: dict[str, object] = {
        "films": len(checked.films),
        "images": sum(item.kind == "image" for item in checked.items),
        "film_bytes": [low, high],
        "stored_bytes": list(stored),
        "seconds": None,
        "cost": None,
        "told_by": "",
    }
    if time is not None:
        cost = None if price is None else [round(value, 4) for value in time.cost(price)]
        facts |= {
            "seconds": [round(time.least, 1), round(time.most, 1)],
            "cost": cost,
            "told_by": time.told,
        }
    return facts
