"""Submission of files on disk as a job in the store. Killed anywhere, the same command completes it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import msgspec

from contract import keys
from contract.documents import encode
from contract.errors import BadInput
from contract.job import Control, Item, Job, Kind, Spec
from contract.job_ids import job_id
from contract.settings import Settings
from contract.severity import losses, plain
from contract.submitter import user_name
from media.codecs import CONTAINERS, SUFFIXES
from orchestrator.ingest.images import kind_of, plan_image
from orchestrator.job_store import Records
from orchestrator.missing_sources import missing_sources
from orchestrator.past_pace import way_of
from orchestrator.sandbox.parent import Confined
from orchestrator.submission import stored_bytes
from orchestrator.submission.film_options import check_film_options, check_masks, mask_names
from orchestrator.submission.neighbours import clashes
from orchestrator.submission.outlook import FilmOutlook, describe
from orchestrator.submission.result_names import apart
from orchestrator.submission.sources import Found, SourceFile, find
from orchestrator.submission.upload import NOTHING, Progress, hash_sources, unread, unreadable, upload
from stores.ledger import Ledger
from stores.storage import Storage
from weights.catalog import network_scale
from weights.pin import foreseen, pin, resolve


@dataclass(frozen=True)
class Submission:
    """A job in the store. `known` means that it existed before.

    `kept` counts sources that are not in the job because their results exist; when all are kept, there is no job.
    """

    job: Job
    known: bool
    kept: int = 0


@dataclass(frozen=True)
class Hooks:
    """Callbacks into the submitting program; by default nothing is shown, refused or left out."""

    progress: Progress = lambda *_: None
    approve: Callable[[Job], object] = lambda _: None
    """Sees the job before anything is uploaded; raises to refuse it."""
    finished: Callable[[Job], Collection[int]] = lambda _: ()
    """Returns the items of a job new to the store whose results exist from an earlier one; they are left out of it."""


@dataclass(frozen=True)
class Draft:
    """Sources that were looked at: their files, their items (not hashed yet), and notes for the user.

    `refused` says by item why a source cannot be read at all; such an item fails alone.
    """

    files: tuple[SourceFile, ...]
    items: tuple[Item, ...]
    notes: tuple[str, ...]
    refused: dict[int, str] = field(default_factory=dict)
    films: tuple[FilmOutlook, ...] = ()
    ways: Mapping[Kind, str] = field(default_factory=dict)
    """The ways in which films and images are worked on (see `way_of`)."""

    @property
    def wanted(self) -> list[tuple[str, float]]:
        """The work to be done, as pairs of a way and megapixels of sources."""
        pixels = {
            "video": sum(film.index.width * film.index.height * film.index.frames for film in self.films),
            "image": sum(item.pixels for item in self.items if item.n not in self.refused),
        }
        return [(way, pixels[kind] / 1e6) for kind, way in self.ways.items() if pixels[kind]]

    def outlook(self, time: str = "") -> list[str]:
        """Say in a few lines what will happen to the sources; `time` is the sentence about the time that it takes."""
        images = [item for item in self.items if item.kind == "image" and item.n not in self.refused]
        return describe(self.films, len(images), sum(item.pixels for item in images) / 1e6, self.notes, time)


def draft(sources: Sequence[Path] | Found, spec: Spec, settings: Settings) -> Draft:
    """Look at `sources` (or what was found of them) without a cluster: can each of them be restored as `spec` says?

    Raises BadInput for a source that the user named and that cannot be
    restored; a bad file inside a folder becomes an item that fails alone. Raises UsageError and WeightsError.
    """
    check_masks(spec)
    found = sources if isinstance(sources, Found) else find(sources)
    files, notes = found.files, found.notes
    spec = resolve(spec, settings)
    how = foreseen(spec, settings), network_scale(spec.model, settings)
    refused: dict[int, str] = {}
    drafts, films = [], list[FilmOutlook]()
    with closing(Confined(settings, ahead=False)) as confined:
        for n, file in enumerate(files):
            try:
                if mismatch := found.checksums.mismatch(file.path):
                    refused[n] = f"{file.name} is damaged: {mismatch}"
                    if file.explicit:
                        raise BadInput(refused[n])
                    drafts.append(unread(n, file))
                    continue
                drafts.append(_draft(n, file, how, notes, confined, films))
            except OSError as error:
                refused[n] = unreadable(file, error)
                drafts.append(unread(n, file))
    items = tuple(apart(drafts, notes))
    notes += check_film_options(spec, {item.kind for item in items if item.n not in refused})
    notes += clashes([*(item.result for item in items), *mask_names(spec, items)])
    ways: dict[Kind, str] = {kind: way_of(kind, spec, how[1]) for kind in ("video", "image")}
    return Draft(tuple(files), items, tuple(notes), refused, tuple(films), ways)


def submit(
    sources: Sequence[Path] | Draft, spec: Spec, settings: Settings, priority: int = 4, hooks: Hooks | None = None
) -> Submission:
    """Check (as `draft` does, unless that was done), hash and upload `sources` and write job.json.

    The spec's weights are fetched and pinned. Raises what `draft` and the `hooks` raise, Unreachable, and UsageError where the
    sources would put the submitter above its quota of stored bytes.
    """
    hooks = hooks or Hooks()
    checked = sources if isinstance(sources, Draft) else draft(sources, spec, settings)
    files, notes = list(checked.files), list(checked.notes)
    storage = Storage(settings)
    storage.ensure_bucket()
    ledger = Ledger(settings)
    ledger.ping()
    tell = hooks.progress
    pinned = pin(spec, storage, settings, lambda file, done, total: tell(f"fetching {file}", done, total or 0), notes)
    spec = msgspec.structs.replace(spec, weights=pinned)
    refused = dict(checked.refused)
    items, stamps = hash_sources(list(checked.items), files, refused, tell)
    job = Job(
        id=job_id(spec, items),
        spec=spec,
        items=items,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        priority=priority,
        notes=plain(notes),
        losses=losses(notes),
        submitter=settings.submitter or user_name(),
    )
    if not storage.exists(keys.job_spec(job.id)) and (there := hooks.finished(job)):
        left = [item.n for item in items if item.n not in there]
        if not left:
            return Submission(job, True, len(items))
        files, stamps = [files[n] for n in left], [stamps[n] for n in left]
        refused = {new: refused[old] for new, old in enumerate(left) if old in refused}
        items = tuple(msgspec.structs.replace(items[old], n=new) for new, old in enumerate(left))
        job = msgspec.structs.replace(job, id=job_id(spec, items), items=items)
    kept = len(checked.items) - len(items)
    hooks.approve(job)
    known = storage.exists(keys.job_spec(job.id))
    records = Records(storage)
    if not known:
        _admit(job, records, ledger)
        upload(job, files, stamps, refused, storage, tell, settings)
        _open_anew(job.id, records)
        # Again: without a source, `respool gc` may have taken the first one for a removed job's.
        stored_bytes.mark(job, storage)
        storage.put(keys.job_spec(job.id), encode(job), if_absent=True)
    manifest = records.manifest(job.id)
    # Also of a job that is new: gc may have taken what an earlier, unfinished submission had left here.
    if (manifest is None or manifest.state == "failed") and (gone := missing_sources(records, job)):
        if known:
            _admit(records.job(job.id), records, ledger)
        upload(job, files, stamps, refused, storage, tell, settings, set(gone))
    if manifest is None:
        ledger.announce_job(job.id)
    return Submission(job, known, kept)


def _admit(job: Job, records: Records, ledger: Ledger) -> None:
    """Raise UsageError where the sources of `job` that the store lacks exceed its submitter's quota; else mark it as that one's."""
    limit = ledger.limits().stored
    adds = sum(job.items[n].size for n in missing_sources(records, job)) if limit else 0
    stored_bytes.check(job, adds, limit, records)
    stored_bytes.mark(job, records.storage)


def _open_anew(job: str, records: Records) -> None:
    """Let nothing count that was asked of a job of the same id whose removal was interrupted."""
    control, tag = records.tagged_control(job)
    if tag is not None:
        opening = control.retries + 1
        records.change_control(job, Control(retries=opening, replan=opening, changes=control.changes), tag)


def _draft(
    n: int,
    file: SourceFile,
    how: tuple[Spec, int],
    notes: list[str],
    confined: Confined,
    films: list[FilmOutlook],
) -> Item:
    """Make an item without its hash: its kind and the name of its result; `films` gets the outlook of a film."""
    spec, scale = how
    size = file.path.stat().st_size
    draft = Item(n, kind_of(file.path, file.name), file.name, file.name, NOTHING, size)
    try:
        if draft.kind == "image":
            name, picture, _ = plan_image(file.path, file.name, spec, scale)
            return msgspec.structs.replace(draft, result=name, pixels=picture.width * picture.height)
        if size == 0:
            raise BadInput(f"{file.name} is empty; there is nothing to restore.")
        index = confined.plan(file.path, draft, spec, scale)
        films.append(FilmOutlook(file.name, size, index))
        path = PurePosixPath(file.name)
        if file.sequence is not None:
            draft = msgspec.structs.replace(draft, result=f"{file.name}.{SUFFIXES[index.container]}")
        elif CONTAINERS.get(path.suffix[1:].lower()) != index.container:
            draft = msgspec.structs.replace(draft, result=str(path.with_suffix("." + SUFFIXES[index.container])))
        return draft
    except BadInput as error:
        if file.explicit:
            raise
        notes.append(f"{file.name} will fail: {error}")
        return draft
