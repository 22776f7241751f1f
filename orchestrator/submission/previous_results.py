"""Results in OUT from an earlier job: made of the same bytes with the same spec, and unmodified since."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from contract.errors import RespoolError
from contract.job import Item, Job
from orchestrator.job_store import Records
from orchestrator.mask_names import mask_name
from stores.file_digest import file_sha256


def standing(job: Job, records: Records, place: Callable[[str], Path]) -> set[int]:
    """Find items of `job` whose file in OUT (`place` maps names to paths) is the result of another finished job.

    So an archivist who repairs ten of ten thousand files and repeats the command has ten computed.
    """
    found: set[int] = set()
    made: dict[tuple[str, str, str], str] | None = None
    for item in job.items:
        path = place(item.result)
        if not path.is_file():
            continue
        if made is None:
            made = _made(job, records)
        names = [item.result, *([mask_name(item.result)] if job.spec.masks and item.kind == "video" else [])]
        if all(_stands(place(name), made.get(_key(item, name))) for name in names):
            found.add(item.n)
    return found


def _stands(path: Path, sha256: str | None) -> bool:
    return sha256 is not None and path.is_file() and file_sha256(path) == sha256


def _key(item: Item, name: str) -> tuple[str, str, str]:
    return item.name, name, item.sha256


def _made(job: Job, records: Records) -> dict[tuple[str, str, str], str]:
    """Return the SHA-256 of every file that finished jobs with the same spec delivered, by source and name."""
    made: dict[tuple[str, str, str], str] = {}
    for other in records.jobs():
        try:
            manifest = records.manifest(other) if other != job.id else None
            earlier = records.job(other) if manifest is not None and manifest.files else None
        except RespoolError:
            continue  # removed meanwhile, damaged or of a newer version: it tells nothing
        if manifest is not None and earlier is not None and earlier.spec == job.spec:
            files = (*manifest.files, *manifest.sidecars)
            made |= {_key(earlier.items[file.item], file.name): file.sha256 for file in files}
    return made
