"""Submission of files on disk as a job in the store. Killed anywhere, the same command completes it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import msgspec

from contract import keys
from contract.documents import encode
from contract.errors import BadInput, SourceChanged, StorageError
from contract.job import Control, Item, Job, Kind, Spec
from contract.job_ids import job_id
from contract.parallel import AHEAD, in_order
from contract.settings import Settings
from contract.severity import losses, plain
from contract.submitter import user_name
from media.codecs import CONTAINERS, SUFFIXES
from orchestrator.ingest.images import kind_of, plan_image
from orchestrator.job_store import Records
from orchestrator.missing_sources import missing_sources
from orchestrator.past_pace import way_of
from orchestrator.sandbox.parent import Confined
from orchestrator.submission.film_options import check_film_options
from orchestrator.submission.neighbours import carried_sidecar, clashes
from orchestrator.submission.outlook import FilmOutlook, describe
from orchestrator.submission.result_names import apart
from orchestrator.submission.sources import Found, SourceFile, find
from stores.ledger import Ledger
from stores.storage import Storage
from weights.catalog import job_scale, network_scale
from weights.pin import pin, resolve

Progress = Callable[[str, int, int], None]
"""Function called with (activity, bytes done, bytes in all)."""

_AT_ONCE = 8
WHOLE = 8 << 20
"""Bytes up to which an upload is hashed again: file systems' change times have a resolution of milliseconds."""
_READS = 3
"""Reads of a file that changes meanwhile: one that is still being copied may be complete by then."""
NOTHING = "0" * 64
"""Placeholder for the hash of a source that cannot be read."""


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
    found = sources if isinstance(sources, Found) else find(sources)
    files, notes = found.files, found.notes
    spec = resolve(spec, settings)
    scale = network_scale(spec.model, settings)
    refused: dict[int, str] = {}
    drafts, films = [], list[FilmOutlook]()
    with closing(Confined(settings, ahead=False)) as confined:
        for n, file in enumerate(files):
            try:
                if mismatch := found.checksums.mismatch(file.path):
                    refused[n] = f"{file.name} is damaged: {mismatch}"
                    if file.explicit:
                        raise BadInput(refused[n])
                    drafts.append(_unread(n, file))
                    continue
                drafts.append(_draft(n, file, (spec, scale), notes, confined, films))
            except OSError as error:
                refused[n] = _unreadable(file, error)
                drafts.append(_unread(n, file))
    items = tuple(apart(drafts, notes))
    notes += check_film_options(spec, {item.kind for item in items if item.n not in refused})
    notes += clashes([item.result for item in items])
    ways: dict[Kind, str] = {kind: way_of(kind, spec, scale) for kind in ("video", "image")}
    return Draft(tuple(files), items, tuple(notes), refused, tuple(films), ways)


def _unread(n: int, file: SourceFile) -> Item:
    """Make the item of an unreadable source: always the same one, so that the same submission stays the same job."""
    return Item(n, "image", file.name, file.name, NOTHING, 0)


def _unreadable(file: SourceFile, error: OSError) -> str:
    """Describe why a source cannot be read, as a failure; raise BadInput when the user named the file itself."""
    reason = f"{file.name} cannot be read ({error.strerror}); check its permissions, and that it is still there."
    if file.explicit:
        raise BadInput(reason) from error
    return reason


def submit(
    sources: Sequence[Path] | Draft, spec: Spec, settings: Settings, priority: int = 4, hooks: Hooks | None = None
) -> Submission:
    """Check (as `draft` does, unless that was done), hash and upload `sources` and write job.json.

    The spec's weights are fetched and pinned. Raises what `draft` and the `hooks` raise, and Unreachable.
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
    items, stamps = _hash(list(checked.items), files, refused, tell)
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
        _upload(job, files, stamps, refused, storage, tell, settings)
        _open_anew(job.id, records)
        storage.put(keys.job_spec(job.id), encode(job), if_absent=True)
    manifest = records.manifest(job.id)
    # Also of a job that is new: gc may have taken what an earlier, unfinished submission had left here.
    if (manifest is None or manifest.state == "failed") and (gone := missing_sources(records, job)):
        _upload(job, files, stamps, refused, storage, tell, settings, set(gone))
    if manifest is None:
        ledger.announce_job(job.id)
    return Submission(job, known, kept)


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


Stamp = tuple[int, int, int]
"""Device-independent signs that a file is still the same: size, nanosecond of the last change, inode."""


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _hash(
    drafts: list[Item], files: list[SourceFile], refused: dict[int, str], progress: Progress
) -> tuple[tuple[Item, ...], list[Stamp | None]]:
    """Items with their hashes, and the stamps of what was hashed; what cannot be read, or does not rest, joins `refused`."""
    total, done = sum(d.size for d in drafts), 0
    items: list[Item] = []
    stamps: list[Stamp | None] = []
    for draft, file in zip(drafts, files, strict=True):
        digest, stamp = "", None
        if draft.n not in refused:
            try:
                digest, stamp = _hashed(file)
            except OSError as error:
                refused[draft.n] = _unreadable(file, error)
            except SourceChanged as error:
                if file.explicit:
                    raise
                refused[draft.n] = str(error)
        done += draft.size
        progress("reading", done, total)
        known = None if stamp is None else msgspec.structs.replace(draft, sha256=digest, size=stamp[0])
        items.append(known or _unread(draft.n, file))
        stamps.append(stamp)
    return tuple(items), stamps


def _hashed(file: SourceFile) -> tuple[str, Stamp]:
    """Return the SHA-256 of a file that did not change while it was read; raise SourceChanged for one that keeps changing."""
    for _ in range(_READS):
        stamp = _stamp(file.path)
        with file.path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if _stamp(file.path) == stamp:
            return digest, stamp
    raise _changed(file)


def _changed(file: SourceFile) -> SourceChanged:
    return SourceChanged(f"{file.name} changed while it was read; submit it again when it no longer changes.")


def _upload(
    job: Job,
    files: list[SourceFile],
    stamps: list[Stamp | None],
    refused: dict[int, str],
    storage: Storage,
    progress: Progress,
    settings: Settings,
    only: Collection[int] | None = None,
) -> None:
    """Store the sources of `job`, or of the items `only`."""
    wanted = [(item, file) for item, file in zip(job.items, files, strict=True) if only is None or item.n in only]
    total = sum(item.size for item, _ in wanted)
    done = 0
    scale = job_scale(job.spec, settings) if any(file.sidecar for _, file in wanted) else 1

    def send(pair: tuple[Item, SourceFile]) -> int:
        item, file = pair
        reason = refused.get(item.n) or _sent(item, file, stamps[item.n], keys.source(job.id, item.n), storage)
        if reason:
            storage.put(keys.refused(job.id, item.n), reason.encode())
        elif file.sequence is not None:
            storage.put(keys.sequence(job.id, item.n), encode(file.sequence))
        if file.sidecar is not None and not reason:
            packet, _ = carried_sidecar(file.sidecar, file.path, item, job.spec, scale)
            storage.put(keys.sidecar(job.id, item.n, file.sidecar.name), packet)
        return item.size

    for size in in_order(send, wanted, _AT_ONCE, "upload", AHEAD):
        done += size
        progress("uploading", done, total)


def _sent(item: Item, file: SourceFile, stamp: Stamp | None, key: str, storage: Storage) -> str:
    """Upload one source; why that cannot be done, empty when it was. Raises SourceChanged for a file that the user named."""
    if storage.stat(key) == (item.size, item.sha256):
        return ""
    try:
        if item.size <= WHOLE:
            data = file.path.read_bytes()
            if hashlib.sha256(data).hexdigest() == item.sha256:
                storage.put(key, data)
                return ""
        elif _stamp(file.path) == stamp:
            try:
                storage.put_file(key, file.path, item.sha256)
            except (StorageError, ValueError):  # the upload of a file that shrinks meanwhile
                if _stamp(file.path) == stamp:
                    raise
            if _stamp(file.path) == stamp:
                return ""
    except OSError as error:
        return _unreadable(file, error)
    storage.delete(key)
    if file.explicit:
        raise _changed(file)
    return str(_changed(file))
