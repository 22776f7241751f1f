"""A job's report: one HTML page that needs no network, no server and no other file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template

from contract.job import Job, Manifest
from contract.masks import FILLED, MOST
from contract.severity import grouped, losses, marked, severity
from orchestrator.comparison.before_after import Pair
from orchestrator.comparison.figures import colours, figures, legend, repair_figure
from orchestrator.comparison.plots import course, durations, timeline
from orchestrator.film_repairs import UNITS, Large, Repairs, words
from orchestrator.result_record import ChunkFacts, Record

ROWS = 500
"""Rows of a table: the page of a 10,000-file batch stays readable; the other rows are in the job's records."""
COURSES = 24
"""Plots of filters over time."""


@dataclass(frozen=True)
class RepairPair:
    """One of the largest repairs of a film called `name`, before and after."""

    name: str
    repairs: Repairs
    large: Large
    pair: Pair


def report(
    job: Job,
    manifest: Manifest,
    records: Sequence[Record],
    pairs: Iterable[Pair],
    repaired: Iterable[RepairPair] = (),
) -> bytes:
    """Build the page (UTF-8) with sliders and change maps of `pairs` and of repairs, in order; names are escaped, nothing is loaded."""
    chunks = {chunk.chunk: chunk for record in records for chunk in record.chunks}
    ordered = [chunks[n] for n in sorted(chunks)]
    template = Template(resources.files("orchestrator.comparison").joinpath("page.html").read_text(encoding="utf-8"))
    shown = "".join(figures(pair, n) for n, pair in enumerate(pairs))
    page = template.substitute(
        job=job.id,
        title=escape(_title(job)),
        summary=escape(_summary(job, manifest, ordered)),
        statement=escape(records[0].statement if records else "No result was made."),
        colours=colours(),
        legend=legend(),
        pairs=shown or "<p class='soft'>There is nothing to show.</p>",
        repairs=_repairs(records, repaired),
        plots=timeline(ordered) + durations(ordered) or "<p class='soft'>No chunk was finished.</p>",
        faults=_faults(job, manifest),
        provenance=_provenance(records),
    )
    return page.encode()


def _title(job: Job) -> str:
    first = job.items[0].name
    return first if len(job.items) == 1 else f"{first} and {len(job.items) - 1} more"


def _summary(job: Job, manifest: Manifest, chunks: Sequence[ChunkFacts]) -> str:
    scale = f" at {job.spec.scale:g}x" if job.spec.scale else ""
    workers = len({chunk.worker for chunk in chunks})
    again = sum(bool(chunk.failed_before) for chunk in chunks)
    back = sum(bool(chunk.handed_back) for chunk in chunks)
    return (
        f"Job {job.id}, {manifest.state}. {job.spec.model}{scale}. {len(manifest.files)} of {_count(len(job.items), 'item')}, "
        f"{_count(len(chunks), 'chunk')} on {_count(workers, 'worker')}, {again or 'none'} after another attempt had failed"
        f"{f', {back} after one had been handed back at a pause or shutdown' if back else ''}. "
        f"Submitted {job.created}, finished {manifest.finished}."
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _repairs(records: Sequence[Record], repaired: Iterable[RepairPair]) -> str:
    """Build the section about filters over time: totals, their course in each film, and the largest repairs; empty without any."""
    own = [(record, one) for record in records for one in record.repairs]
    if not own:
        return ""
    rows = "".join(
        f"<tr><td>{escape(record.source.name)}</td><td class=option>--{escape(one.filter)}</td><td>{one.changed} of {one.frames}</td>"
        f"<td>{_largest(one)}</td></tr>"
        for record, one in own[:ROWS]
    )
    made = _table("<th>Film</th><th>Filter</th><th>Frames changed</th><th>Largest</th>", rows, len(own))
    made += "".join(_masks(record) for record in records[:ROWS])
    for record, one in own[:COURSES]:
        made += course(
            one.course, f"{record.source.name}, --{one.filter}, through the film: {UNITS.get(one.filter, one.filter)}."
        )
    shown = "".join(
        repair_figure(
            found.pair,
            f"r{n}",
            f"{found.name} at {found.pair.label}: {words(found.repairs, found.large)}",
            found.large.columns,
        )
        for n, found in enumerate(repaired)
    )
    return f'<h2 id="repairs">Repairs over time</h2>{made}<div class="pairs">{shown}</div>'


def _masks(record: Record) -> str:
    """Name the mask film of a result, and its values; empty where there is none."""
    if record.masks is None:
        return ""
    values = "".join(f"{value} filled by --{name}, " for name, value in FILLED.items() if record.parameters.get(name))
    return (
        f"<p>What was changed in {escape(record.source.name)} is in the mask film <code>{escape(record.masks.name)}</code>, delivered beside "
        f"the result (SHA-256 <code>{record.masks.sha256}</code>): {values}1 to {MOST} the largest change by another filter but --grain, 0 not "
        "changed.</p>"
    )


def _largest(one: Repairs) -> str:
    return escape("; ".join(f"{large.amount:g} in frame {large.frame}" for large in one.largest)) or "none"


def _faults(job: Job, manifest: Manifest) -> str:
    rows = [(f.name, "failed", f.reason) for f in manifest.failures]
    for hurt in manifest.damage:
        item = job.items[hurt.item]
        span = f"{hurt.where}: " if item.kind == "video" else ""
        rows.append((item.name, "damaged", span + hurt.reason))
    foretold = tuple(f"{f.name} will fail: " for f in manifest.failures)
    said = [n for n in marked(manifest.notes, manifest.losses) if not n.startswith(foretold)]
    rows += [("", "loss", note) for note in grouped(losses(said))]
    rows += [("", "note", note) for note in said if severity(note) == "note"]
    if not rows:
        return "<p>Nothing failed, no damage was found, there are no notes.</p>"
    body = "".join(
        f"<tr><td>{escape(name)}</td><td{' class=bad' if kind == 'failed' else ''}>{kind}</td><td>{escape(said)}</td></tr>"
        for name, kind, said in rows[:ROWS]
    )
    return _table("<th>Item</th><th></th><th>What</th>", body, len(rows))


def _provenance(records: Sequence[Record]) -> str:
    if not records:
        return "<p class='soft'>There are no records.</p>"
    weights = "".join(
        f"<tr><td>{escape(w.role)}</td><td>{escape(w.name)}</td><td>{escape(w.licence)}</td><td><code>{w.sha256}</code></td></tr>"
        for w in records[0].ingredients
    )
    files = "".join(
        f"<tr><td>{escape(r.source.name)}<br><code>{r.source.sha256}</code></td>"
        f"<td>{escape(r.result.name)}<br><code>{r.result.sha256}</code></td></tr>"
        for r in records[:ROWS]
    )
    made = _table("<th>Part</th><th>Weights</th><th>Licence</th><th>SHA-256</th>", weights, 0) if weights else ""
    versions = sorted({f"{k} {v}" for r in records for c in r.chunks for k, v in c.versions.items()})
    where = sorted({f"{c.worker} ({c.device}, {c.backend} {c.precision})" for r in records for c in r.chunks})
    told = f"<p>{escape(records[0].software)}; {escape(', '.join(versions))}.</p><p>{escape('; '.join(where[:50]))}</p>"
    return made + told + _table("<th>Source, SHA-256</th><th>Result, SHA-256</th>", files, len(records))


def _table(head: str, body: str, total: int) -> str:
    more = f"<p class='soft'>{total - ROWS} more are in the job's records.</p>" if total > ROWS else ""
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}"
