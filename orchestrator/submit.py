"""From files on disk to a job in the store. Killed anywhere, the same command completes it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import msgspec

from contract import job as words
from contract import keys
from contract.codecs import CONTAINERS, SUFFIXES
from contract.errors import BadInput, SourceChanged
from contract.job import Item, Job, Spec
from contract.ledger import Ledger
from contract.settings import Settings
from contract.storage import Storage
from orchestrator.ingest.film import plan_film
from orchestrator.ingest.images import kind_of, plan_image
from orchestrator.sources import Found, SourceFile, find
from weights.catalog import network_scale
from weights.pin import pin, resolve

Progress = Callable[[str, int, int], None]
"""Called with (what is going on, how much is done, of how much), in bytes."""

_AT_ONCE = 8


@dataclass(frozen=True)
class Submission:
    """A job that is in the store. `known` says that it was there already, `notes` what was left out or renamed."""

    job: Job
    known: bool


@dataclass(frozen=True)
class Draft:
    """Sources that were looked at: their files, their items (not hashed yet), and notes for the user."""

    files: tuple[SourceFile, ...]
    items: tuple[Item, ...]
    notes: tuple[str, ...]


def draft(sources: Sequence[Path] | Found, spec: Spec, settings: Settings, result: str | None = None) -> Draft:
    """Look at `sources` (or what was found of them) without a cluster: can each of them be restored as `spec` says?

    `result` names the only source's result. Raises BadInput for a source that the user named and that cannot be
    restored; a bad file inside a folder becomes an item that fails alone. Raises UsageError and WeightsError.
    """
    files, notes = sources if isinstance(sources, Found) else find(sources)
    spec = resolve(spec, settings)
    scale = network_scale(spec.model, settings)
    items = _apart([_draft(n, file, spec, scale, result, notes) for n, file in enumerate(files)], notes)
    return Draft(tuple(files), tuple(items), tuple(notes))


def submit(
    sources: Sequence[Path] | Draft,
    spec: Spec,
    settings: Settings,
    result: str | None = None,
    priority: int = 4,
    progress: Progress | None = None,
    approve: Callable[[Job], None] | None = None,
) -> Submission:
    """Check (as `draft` does, unless that was done), hash and upload `sources` and write job.json.

    The spec's weights are fetched and pinned. `approve` sees the job before anything is uploaded, and may raise.
    Raises what `draft` raises, and Unreachable.
    """
    checked = sources if isinstance(sources, Draft) else draft(sources, spec, settings, result)
    files, notes = list(checked.files), list(checked.notes)
    storage = Storage(settings)
    storage.ensure_bucket()
    ledger = Ledger(settings)
    ledger.ping()
    tell = progress or _silent
    pinned = pin(spec, storage, settings, lambda file, done, total: tell(f"fetching {file}", done, total or 0), notes)
    spec = msgspec.structs.replace(spec, weights=pinned)
    items = _hash(list(checked.items), files, tell)
    job = Job(
        id=words.job_id(spec, items),
        spec=spec,
        items=items,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        priority=priority,
        notes=tuple(notes),
    )
    if approve is not None:
        approve(job)
    known = storage.exists(keys.job_spec(job.id))
    if not known:
        _upload(job, files, storage, tell)
        storage.put(keys.job_spec(job.id), words.encode(job), if_absent=True)
    if not storage.exists(keys.manifest(job.id)):
        ledger.announce_job(job.id)
    return Submission(job, known)


def _silent(_what: str, _done: int, _total: int) -> None:
    """Nobody wants to see it."""


def _draft(n: int, file: SourceFile, spec: Spec, scale: int, result: str | None, notes: list[str]) -> Item:
    """An item without its hash: what it is, and what its result will be called."""
    size = file.path.stat().st_size
    draft = Item(n, kind_of(file.path, file.name), file.name, result or file.name, "0" * 64, size)
    try:
        if draft.kind == "image":
            name, picture, _ = plan_image(file.path, file.name, spec, scale)
            return msgspec.structs.replace(draft, result=result or name, pixels=picture.width * picture.height)
        if size == 0:
            raise BadInput(f"{file.name} is empty; there is nothing to restore.")
        with file.path.open("rb") as stream:
            index = plan_film(stream, draft, spec, scale)
        path = PurePosixPath(file.name)
        if result is None and file.sequence is not None:
            draft = msgspec.structs.replace(draft, result=f"{file.name}.{SUFFIXES[index.container]}")
        elif result is None and CONTAINERS.get(path.suffix[1:].lower()) != index.container:
            draft = msgspec.structs.replace(draft, result=str(path.with_suffix("." + SUFFIXES[index.container])))
        return draft
    except BadInput as error:
        if file.explicit:
            raise
        notes.append(f"{file.name} will fail: {error}")
        return draft


def _apart(drafts: list[Item], notes: list[str]) -> list[Item]:
    """Results that would have one name (a.jpg and a.webp both to a.png) keep their source's suffix too."""
    taken: dict[str, int] = {}
    for draft in drafts:
        taken[draft.result] = taken.get(draft.result, 0) + 1
    apart = []
    for draft in drafts:
        if taken[draft.result] > 1 and draft.result != draft.name:
            name = draft.name + PurePosixPath(draft.result).suffix
            notes.append(f"the result of {draft.name} is called {name}: another source's result is {draft.result}")
            draft = msgspec.structs.replace(draft, result=name)
        apart.append(draft)
    return apart


def _hash(drafts: list[Item], files: list[SourceFile], progress: Progress) -> tuple[Item, ...]:
    total, done = sum(d.size for d in drafts), 0
    items = []
    for draft, file in zip(drafts, files, strict=True):
        with file.path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        done += draft.size
        progress("reading", done, total)
        items.append(msgspec.structs.replace(draft, sha256=digest))
    return tuple(items)


def _upload(job: Job, files: list[SourceFile], storage: Storage, progress: Progress) -> None:
    total = sum(item.size for item in job.items)
    done = 0

    def send(pair: tuple[Item, SourceFile]) -> int:
        item, file = pair
        key = keys.source(job.id, item.n)
        if storage.stat(key) != (item.size, item.sha256):
            if file.path.stat().st_size != item.size:
                raise SourceChanged(f"{file.path} changed while it was read; submit it again when it rests.")
            storage.put_file(key, file.path, item.sha256)
        if file.sequence is not None:
            storage.put(keys.sequence(job.id, item.n), words.encode(file.sequence))
        return item.size

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="upload") as pool:
        for size in pool.map(send, zip(job.items, files, strict=True)):
            done += size
            progress("uploading", done, total)
