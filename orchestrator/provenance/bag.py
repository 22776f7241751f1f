"""A job's results as a BagIt 1.0 bag (RFC 8493): payload, records and PREMIS, each with its SHA-256."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import bagit

from contract import keys
from contract.errors import IntegrityError, UsageError
from contract.provenance import software
from orchestrator.provenance.premis import premis
from orchestrator.result_record import FileFacts, Record, to_lines
from stores.file_digest import file_sha256

RECORDS, PREMIS = "respool-records.jsonl", "premis.xml"
"""Tag files of every bag: they describe the payload and are not part of it."""


def write_bag(
    folder: Path, records: Sequence[Record], fetch: Callable[[Record, FileFacts, Path], None], contact: str = ""
) -> Path:
    """Write the results that `records` describe, and their mask films, as a bag into `folder`, which must be new or empty.

    `fetch` writes one file of a record to the path it is given. An unfinished bag is removed.

    Raises:
        UsageError: the folder is not empty, or there are no records.
        IntegrityError: a file's bytes differ from its record.
    """
    if not records:
        raise UsageError("the job has no results yet; a bag needs at least one. See `respool status`.")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; name a new folder for the bag.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(tempfile.mkdtemp(prefix=".respool-bag-", dir=folder.parent))
    part = holder / "bag"
    try:
        part.mkdir()
        files = [(record, facts) for record in records for facts in (record.result, record.masks) if facts is not None]
        for record, facts in files:
            path = part / keys.check_name(facts.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            fetch(record, facts, path)
            found = file_sha256(path)
            if found != facts.sha256:
                raise IntegrityError(
                    f"{facts.name} has SHA-256 {found}, but its record says {facts.sha256}; fetch it again."
                )
        bag = bagit.make_bag(str(part), _info(records, contact), processes=1, checksums=["sha256"])
        (part / RECORDS).write_bytes(b"".join(to_lines(iter(records))))
        (part / PREMIS).write_bytes(premis(records))
        bag.save()
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    finally:
        shutil.rmtree(holder, ignore_errors=True)
    return folder


def _info(records: Sequence[Record], contact: str) -> dict[str, str]:
    info = {
        "Bag-Software-Agent": software(),
        "External-Identifier": f"respool:{records[0].job}",
        "External-Description": records[0].statement,
        "Bagging-Date": records[0].finished[:10],
    }
    return info | ({"Contact-Name": contact} if contact else {})
