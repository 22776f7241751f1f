"""respool probe: a source as ingest sees it, and the plan for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contract.errors import BadInput, RespoolError
from contract.job import where
from contract.settings import Settings
from contract.severity import losses, marked, plain, severity, worst
from contract.time_filters import STEADY
from orchestrator.cli.common import command
from orchestrator.cli.exits import Exit
from orchestrator.cli.options import job_options, sequence_option, spec_of
from orchestrator.cli.terminal import echo
from orchestrator.submission.model_choice import with_model

if TYPE_CHECKING:
    from contract.film import FilmIndex
    from contract.job import Spec
    from orchestrator.sandbox.parent import Confined
    from orchestrator.submission.neighbours import Checksums
    from orchestrator.submission.sources import SourceFile


@command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SRC...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; its fields are only ever added to.")
@click.option(
    "--evidence/--no-evidence",
    default=None,
    help="Look at a sample of a film's frames for flicker, dirt, scratches, weave and grain, and propose options (default: for a single film).",
)
@click.option(
    "--gpu",
    metavar="NAME",
    help="GPU, or a part of its name, whose balance with the encoder is shown (default: this machine's).",
)
@sequence_option
@job_options
def probe(
    settings: Settings,
    sources: tuple[Path, ...],
    as_json: bool,
    evidence: bool | None,
    gpu: str | None,
    sequence: Fraction | None,
    **options: Any,
) -> int:
    """Show a source as ingest sees it, and the plan for it.

    Streams, frames, timing, interlacing, colour, faults over time with options against them, the plan for these options, and
    whether the network or the encoder limits its speed; nothing is stored.
    """
    import msgspec

    from orchestrator.balance.film_balance import film_balance, work_of
    from orchestrator.balance.network_time import Device, device_here
    from orchestrator.sandbox.parent import Confined
    from orchestrator.submission.default_model import kinds
    from orchestrator.submission.film_options import check_film_options
    from orchestrator.submission.sequence import gathered
    from weights.catalog import network_scale
    from weights.pin import foreseen

    spec = spec_of(options)
    with gathered(sources, sequence, settings) as found:
        spec, looked = with_model(spec, found, lambda words: echo(words, err=True))
        spec = foreseen(spec, settings)
        notes = looked.notes + check_film_options(spec, kinds(looked.files))
        scale = network_scale(spec.model, settings)
        files = looked.files
        device = device_here(settings) if gpu is None else Device(gpu, card=True, cores=None)

        def weigh(index: FilmIndex) -> dict[str, Any]:
            return film_balance(work_of(index), spec, device, settings).facts

        with closing(Confined(settings, ahead=False)) as confined:
            looks = len(files) == 1 if evidence is None else evidence
            seen = [_look(file, spec, scale, confined, looked.checksums, looks, weigh) for file in files]
    if as_json:
        echo(msgspec.json.format(msgspec.json.encode(seen), indent=2))
    else:
        for note in notes:
            echo(f"{severity(note)}: {note}", err=True)
        many = len(seen) > 1 or any(source.is_dir() for source in sources)
        echo("\n".join(_table(seen)) if many else "\n".join(_lines(seen[0])))
    return Exit.USAGE if any("error" in facts for facts in seen) else Exit.DONE


_WIDE = 48
"""Characters of a name in the table; the middle of a longer one is left out."""


def _table(seen: list[dict[str, Any]]) -> list[str]:
    """Describe many sources, one a line: the worst that would be said, the name, the result, and every loss below it."""
    names = [_short(facts["name"]) for facts in seen]
    results = [_short(str(facts.get("result") or facts.get("plan", {}).get("container") or "-")) for facts in seen]
    first, second = max(map(len, names)), max(map(len, results))
    lines = [f"{'severity':8}  {'source':{first}}  {'becomes':{second}}  what"]
    tally: Counter[str] = Counter()
    for facts, name, result in zip(seen, names, results, strict=True):
        said = [facts["error"]] if "error" in facts else [*facts["losses"]]
        said = said or [
            f"{len(facts['notes'])} note{'' if len(facts['notes']) == 1 else 's'}"
            if facts["notes"]
            else "nothing is lost"
        ]
        if options := facts.get("faults", {}).get("proposed"):
            said.append(f"proposed, by a sample of {facts['faults']['judged']} frames: {' '.join(options)}")
        tally[facts["severity"] or "nothing"] += 1
        lines.append(f"{facts['severity'] or '-':8}  {name:{first}}  {result:{second}}  {said[0]}")
        lines += [f"{'':8}  {'':{first}}  {'':{second}}  {more}" for more in said[1:]]
    counted = ", ".join(
        f"{tally[kind]} with {kind}" for kind in ("failure", "damage", "loss", "note", "nothing") if tally[kind]
    )
    return [*lines, f"{len(seen)} sources: {counted}"]


def _short(name: str) -> str:
    return name if len(name) <= _WIDE else f"{name[: _WIDE // 2 - 2]}...{name[-(_WIDE // 2 - 1) :]}"


def _look(
    file: SourceFile,
    spec: Spec,
    scale: int,
    confined: Confined,
    checksums: Checksums,
    evidence: bool,
    weigh: Callable[[FilmIndex], dict[str, Any]],
) -> dict[str, Any]:
    """Describe one source as a dictionary; `error` is the reason why it cannot be restored. `evidence` is looked for in films.

    `weigh` returns the balance of a film.
    """
    import msgspec

    from contract.job import Item
    from orchestrator.ingest.images import kind_of
    from orchestrator.ingest.preflight import preflight
    from orchestrator.submission.expected_size import expected_bytes

    facts: dict[str, Any] = {"name": file.name}
    try:
        if mismatch := checksums.mismatch(file.path):
            raise BadInput(f"{file.name} is damaged: {mismatch}")
        if kind_of(file.path, file.name) == "image":
            found = preflight(file.path, file.name, spec, scale)
            header = msgspec.to_builtins(found.picture)
            return _judged(facts | {"kind": "image", **header, "result": found.result}, found.notes)
        size = file.path.stat().st_size
        if size == 0:
            raise BadInput(f"{file.name} is empty; there is nothing to restore.")
        item = Item(0, "video", file.name, file.name, "0" * 64, size)
        if file.sequence is not None:
            facts["sequence"] = msgspec.to_builtins(file.sequence)
        index = confined.plan(file.path, item, spec, scale)
        described = _film(index)
        described["plan"]["masks"] = spec.masks
        described["plan"]["expected_bytes"] = list(expected_bytes(index, size))
        described["balance"] = weigh(index)
        if evidence:
            described["faults"] = _faults(file, index, spec, confined)
        return _judged(facts | {"kind": "video", **described}, marked(index.notes, index.losses))
    except BadInput as error:
        return facts | {"error": str(error), "severity": "failure", "losses": []}
    except OSError as error:
        reason = f"{file.name} cannot be read ({error.strerror}); check its permissions."
        return facts | {"error": reason, "severity": "failure", "losses": []}


def _faults(file: SourceFile, index: FilmIndex, spec: Spec, confined: Confined) -> dict[str, Any]:
    """Describe the faults over time in a sample of a film's frames; `reason` is why frames were not looked at."""
    from importlib.util import find_spec

    import msgspec

    from contract.evidence import Evidence
    from orchestrator.submission.repairs import lines, look_order, proposed

    if find_spec("cv2") is None or find_spec("workers") is None:
        found = Evidence(reason="OpenCV is not installed; pip install 'respool[worker]' brings it")
    else:
        try:
            found = confined.look(file.path, look_order(index, file.name))
        except RespoolError as error:  # the film can be restored all the same
            found = Evidence(reason=str(error).rstrip("."))
    return {
        "frames": index.frames,
        "judged": found.judged,
        "places": msgspec.to_builtins(found.looks),
        "reason": found.reason,
        "proposed": proposed(found, spec),
        "words": lines(found, index.frames, spec),
    }


def _judged(facts: dict[str, Any], notes: Sequence[str]) -> dict[str, Any]:
    """Add the notes, the severity of the worst that would be said, and the losses."""
    found = worst(notes, bool(facts.get("damage")), False) or ""
    return facts | {"notes": list(plain(notes)), "severity": found, "losses": list(losses(notes))}


def _film(index: FilmIndex) -> dict[str, Any]:
    import msgspec
    import numpy as np

    from media.columns import unpack

    pts = unpack(index.pts)
    tick = index.time_base[0] / index.time_base[1]
    steps = np.diff(pts) * tick
    encoding = index.encoding
    return {
        "format": index.format,
        "codec": index.codec,
        "width": index.width,
        "height": index.height,
        "pix_fmt": index.pix_fmt,
        "sar": list(index.sar),
        "frames": index.frames,
        "piece": msgspec.to_builtins(index.piece),
        "start_s": round(float(pts[0]) * tick, 6),
        "duration_s": round(float(pts[-1] - pts[0]) * tick + 1 / float(index.rate), 6),
        "rate": str(index.rate),
        "constant_rate": bool(steps.size == 0 or float(np.ptp(steps)) <= tick),
        "scanning": msgspec.to_builtins(index.scanning),
        "colour": msgspec.to_builtins(index.colour),
        "streams": msgspec.to_builtins(index.streams),
        "damage": msgspec.to_builtins(index.damage),
        "plan": {
            "width": encoding.width,
            "height": encoding.height,
            "codec": encoding.codec,
            "pix_fmt": encoding.pix_fmt,
            "container": index.container,
            "deinterlace": index.deinterlace,
            "steady": STEADY.done in index.time_filters,
            "filters": list(index.time_filters),
            "chunks": len(index.chunks),
            "packets_cut": "decoded once to FFV1" if index.lossless else "the source's own packets",
        },
    }


def _lines(facts: dict[str, Any]) -> list[str]:
    if "error" in facts:
        return [facts["name"], f"  cannot be restored: {facts['error']}"]
    if facts["kind"] == "image":
        alpha = ", alpha" if facts["alpha"] else ""
        lines = [
            facts["name"],
            f"  {facts['format']}, {facts['width']}x{facts['height']}, {facts['mode']}{alpha}, {facts['depth']} bits",
            f"  becomes {facts['result']}",
        ]
    else:
        lines = [facts["name"], *_film_lines(facts)]
    lost = set(facts["losses"])
    faults = [f"  {words}" for words in facts.get("faults", {}).get("words", ())]
    return [*lines, *faults, *(f"  {'loss' if note in lost else 'note'}: {note}" for note in facts["notes"])]


def _film_lines(facts: dict[str, Any]) -> list[str]:
    from orchestrator.cli.display import duration
    from orchestrator.submission.outlook import byte_range

    plan, colour, scanning = facts["plan"], facts["colour"], facts["scanning"]
    rate = f"{facts['rate']} fps" + ("" if facts["constant_rate"] else " (nominal; the rate varies)")
    lines = [
        f"  {facts['format']}, {facts['codec']}, {facts['width']}x{facts['height']}, {facts['pix_fmt']}",
        f"  {facts['frames']} frames, {rate}, {duration(facts['duration_s'])}, {scanning['kind']}",
        f"  colour: {colour['matrix']}, {'full' if colour['full'] else 'limited'} range",
    ]
    for stream in facts["streams"]:
        what = " ".join(word for word in (stream["kind"], stream["codec"], stream["language"], stream["title"]) if word)
        fate = "copied" if stream["copied"] else stream["note"] or "restored"
        lines.append(f"  stream {stream['index']}: {what}: {fate}")
    lines += [f"  damaged: {where(d['first'], d['count'])}: {d['reason']}" for d in facts["damage"]]
    lines.append(
        f"  plan: {plan['width']}x{plan['height']} {plan['codec']} {plan['pix_fmt']} in {plan['container']}, "
        f"{plan['chunks']} chunk{'' if plan['chunks'] == 1 else 's'} of {plan['packets_cut']}"
        f"{', deinterlaced' if plan['deinterlace'] else ''}{''.join(f', {done}' for done in plan['filters'])}"
        f"{', with a mask film beside it' if plan['masks'] else ''}"
    )
    return [
        *lines,
        f"  expected size: {byte_range(*plan['expected_bytes'])}",
        f"  balance: {facts['balance']['words']}",
    ]
