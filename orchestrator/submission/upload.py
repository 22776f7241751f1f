"""Sources on their way into the store: hashed, and uploaded only as what was hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from contract import keys
from contract.documents import encode
from contract.errors import BadInput, SourceChanged, StorageError
from contract.job import Item, Job
from contract.parallel import AHEAD, in_order
from contract.settings import Settings
from orchestrator.submission.neighbours import carried_sidecar
from orchestrator.submission.sources import SourceFile
from stores.storage import Storage
from weights.catalog import job_scale

Progress = Callable[[str, int, int], None]
"""Function called with (activity, bytes done, bytes in all)."""

_AT_ONCE = 8
WHOLE = 8 << 20
"""Bytes up to which an upload is hashed again: file systems' change times have a resolution of milliseconds."""
_READS = 3
"""Reads of a file that changes meanwhile: one that is still being copied may be complete by then."""
NOTHING = "0" * 64
"""Placeholder for the hash of a source that cannot be read."""


def unread(n: int, file: SourceFile) -> Item:
    """Make the item of an unreadable source: always the same one, so that the same submission stays the same job."""
    return Item(n, "image", file.name, file.name, NOTHING, 0)


def unreadable(file: SourceFile, error: OSError) -> str:
    """Describe why a source cannot be read, as a failure; raise BadInput when the user named the file itself."""
    reason = f"{file.name} cannot be read ({error.strerror}); check its permissions, and that it is still there."
    if file.explicit:
        raise BadInput(reason) from error
    return reason


Stamp = tuple[int, int, int]
"""Device-independent signs that a file is still the same: size, nanosecond of the last change, inode."""


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def hash_sources(
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
                refused[draft.n] = unreadable(file, error)
            except SourceChanged as error:
                if file.explicit:
                    raise
                refused[draft.n] = str(error)
        done += draft.size
        progress("reading", done, total)
        known = None if stamp is None else msgspec.structs.replace(draft, sha256=digest, size=stamp[0])
        items.append(known or unread(draft.n, file))
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


def upload(
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
        return unreadable(file, error)
    storage.delete(key)
    if file.explicit:
        raise _changed(file)
    return str(_changed(file))
