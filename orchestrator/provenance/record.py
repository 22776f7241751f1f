"""Records of results: source bytes, model, workers, damage and notes of each. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from contract.film import ImageSequence
from contract.job import Damage, Done, Item, Job, Manifest, Plan
from contract.piece import Piece
from contract.provenance import ingredients, making, software
from contract.severity import losses, marked, plain, worst
from orchestrator.film_repairs import repairs_of
from orchestrator.mask_names import mask_name
from orchestrator.result_record import ChunkFacts, FileFacts, Record
from stores.ledger import HANDED_BACK


def records(
    job: Job,
    plan: Plan,
    dones: Mapping[int, Done],
    manifest: Manifest,
    sequences: Mapping[int, ImageSequence] = MappingProxyType({}),
    witness: Mapping[int, dict[str, object]] = MappingProxyType({}),
    pieces: Mapping[int, Piece] = MappingProxyType({}),
) -> Iterator[Record]:
    """Yield a record for each file of `manifest`, in its order.

    `dones` are the commits by chunk; `sequences` holds, by item, the numbered images that a film was packed from,
    `witness` what a second decode of a film came to, `pieces` the parts of films that alone were restored.
    """
    first = dict(plan.duplicates)
    by_item = _twins(plan, _chunks_by_item(job, plan))
    damage: dict[int, list[Damage]] = {}
    for hurt in manifest.damage:
        damage.setdefault(hurt.item, []).append(hurt)
    notes = _notes_by_name(job.items, marked(manifest.notes, manifest.losses))
    beside: dict[int, list[str]] = {}
    masks: dict[int, FileFacts] = {}
    for extra in manifest.sidecars:
        beside.setdefault(extra.item, []).append(extra.name)
        if job.spec.masks and extra.name == mask_name(job.items[extra.item].result):
            masks[extra.item] = FileFacts(extra.name, extra.sha256, extra.size)
    parameters = {k: v for k, v in msgspec.to_builtins(job.spec).items() if k != "weights"}
    weights = ingredients(job.spec)
    for file in manifest.files:
        item = job.items[file.item]
        piece = pieces.get(first.get(item.n, item.n))
        made = msgspec.structs.replace(making(job, item), piece=piece)
        packed = {"sequence": msgspec.to_builtins(sequences[item.n])} if item.n in sequences else {}
        yield Record(
            job=job.id,
            item=item.n,
            kind=item.kind,
            source=FileFacts(item.name, item.sha256, item.size),
            result=FileFacts(file.name, file.sha256, file.size),
            statement=made.statement,
            generated=made.generated,
            software=software(),
            parameters=parameters,
            ingredients=weights,
            chunks=tuple(_facts(dones[n]) for n in by_item.get(item.n, []) if n in dones),
            damage=tuple(damage.get(item.n, ())),
            notes=plain(notes.get(item.n, ())),
            severity=worst(notes.get(item.n, ()), item.n in damage, False) or "",
            losses=losses(notes.get(item.n, ())),
            submitted=job.created,
            finished=manifest.finished,
            details=(packed or _details(item, first.get(item.n, item.n), by_item.get(item.n, []), dones))
            | _repairs(item, by_item.get(item.n, []), dones)
            | ({"piece": msgspec.to_builtins(piece)} if piece is not None else {})
            | ({"sidecars": beside[item.n]} if item.n in beside else {})
            | ({"masks": msgspec.to_builtins(masks[item.n])} if item.n in masks else {})
            | ({"witness": witness[first.get(item.n, item.n)]} if first.get(item.n, item.n) in witness else {}),
        )


def _chunks_by_item(job: Job, plan: Plan) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for chunk in plan.live:
        for n in chunk.items:
            if n < len(job.items):
                found.setdefault(n, []).append(chunk.n)
    return found


def _twins(plan: Plan, found: dict[int, list[int]]) -> dict[int, list[int]]:
    """Assign the chunks of an item also to its duplicates, which were not computed again."""
    return found | {twin: found.get(first, []) for twin, first in plan.duplicates}


def _notes_by_name(items: Sequence[Item], notes: Sequence[str]) -> dict[int, list[str]]:
    """Sort the job's notes by the item whose name they begin with; in a job of one item, all are its own."""
    if len(items) == 1:
        return {items[0].n: list(notes)}
    by_name = {item.name: item.n for item in items}
    found: dict[int, list[str]] = {}
    for note in notes:
        ends = [colon.start() for colon in re.finditer(": ", note) if note[: colon.start()] in by_name]
        if ends:  # the longest name, since names may hold colons
            found.setdefault(by_name[note[: ends[-1]]], []).append(type(note)(note[ends[-1] + 2 :]))
    return found


def _facts(done: Done) -> ChunkFacts:
    known = {name: msgspec.json.decode(value) for name, value in done.record.items()}
    return ChunkFacts(
        chunk=done.chunk,
        attempt=done.attempt,
        worker=done.worker,
        device=known.get("device", ""),
        precision=known.get("precision", ""),
        backend=known.get("backend", ""),
        reason=known.get("reason", ""),
        started=known.get("started", ""),
        finished=known.get("finished", ""),
        seconds=known.get("seconds", {}),
        failed_before=tuple(why for why in known.get("attempts", ()) if not why.startswith(HANDED_BACK)),
        handed_back=tuple(why for why in known.get("attempts", ()) if why.startswith(HANDED_BACK)),
        versions=known.get("versions", {}),
    )


def _repairs(item: Item, chunks: Sequence[int], dones: Mapping[int, Done]) -> dict[str, Any]:
    """Return what filters over time did to a film, summed up; nothing where there were none."""
    found = repairs_of(dones[n] for n in chunks if n in dones) if item.kind == "video" else []
    return {"repairs": msgspec.to_builtins(found)} if found else {}


def _details(item: Item, number: int, chunks: Sequence[int], dones: Mapping[int, Done]) -> dict[str, Any]:
    """Return the worker's facts about image `number` (header, target, tiles); none for films, whose chunks have them."""
    for n in chunks:
        if item.kind == "image" and n in dones and "images" in dones[n].record:
            images: dict[str, Any] = msgspec.json.decode(dones[n].record["images"])
            if str(number) in images:
                details: dict[str, Any] = images[str(number)]
                return details
    return {}
