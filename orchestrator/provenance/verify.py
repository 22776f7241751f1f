"""Verification of old results against their records: bytes as delivered, made from the stated source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import bagit
import msgspec

from contract.errors import BadInput
from contract.masks import TAG, MaskMaking, read_mask_tag
from contract.provenance import MP4_RECORD, RECORD, Making, read
from media.codecs import CONTAINERS
from media.images import metadata_jpeg, metadata_png, metadata_tiff, metadata_webp, tiff, xmp
from media.images.encoded_payload import content_sha256
from media.images.sniff import HEAD, sniff
from media.opening import open_media
from orchestrator.provenance.bag import RECORDS
from orchestrator.provenance.decode import Decode, Plan, decode_film
from orchestrator.result_record import FileFacts, Record, from_lines
from stores.file_digest import file_sha256

NOTHING = "nothing"
"""In place of what a file was compared with, where no record can be reached."""
UNREACHED = "its record cannot be reached; start the cluster that made it, or fetch a bag"
SOURCE = "the source"
Recorded = Callable[[str], list[Record]]
"""Function that returns the records of a job id; an empty list when they cannot be reached."""


@dataclass(frozen=True)
class Finding:
    """Outcome for one file. `how` names what it was compared with; `fault` is empty for a file that passed."""

    path: Path
    how: str
    fault: str = ""
    made: Making | None = None
    record: Record | None = None
    decode: Decode | None = None
    """The second look at a film, where one was asked for."""
    masks: MaskMaking | None = None
    """The tag of a mask film, which says what it is of; it is held against its result's record."""


def verify(path: Path, recorded: Recorded, source: Path | None = None, plan: Plan | None = None) -> list[Finding]:
    """Check a result, a folder of results, or a bag; compare `source`, when given, with the hash in the result.

    With `plan`, films are decoded to their end, too, and need not carry a record.
    Raises BadInput for a path that does not exist or holds nothing that Respool made.
    """
    found = _findings(path, recorded, source, plan is not None)
    return found if plan is None else [_decoded(finding, source, plan) for finding in found]


def _decoded(finding: Finding, source: Path | None, plan: Plan) -> Finding:
    """Return a finding with its film decoded; one of a bag, a picture or a missing file as it is."""
    if not finding.path.is_file() or not _is_film(finding.path):
        return finding
    other = finding.how == SOURCE  # it was not made from `source`
    if finding.masks is not None:
        decode = decode_film(finding.path, None, _of_masks(finding.record), None, plan)
    else:
        decode = decode_film(finding.path, finding.made, finding.record, None if other else source, plan)
    if finding.how == NOTHING:  # then the decode is what it is verified by
        finding = replace(finding, how="a decode to its end", fault="")
    fault = "; ".join(filter(None, [finding.fault, *decode.faults]))
    return replace(finding, fault=fault, decode=decode)


def _of_masks(record: Record | None) -> Record | None:
    """Return a record in which the decode of the mask film stands for that of the result; None where it has none."""
    kept = None if record is None else record.details.get("witness", {}).get("masks")
    if record is None or kept is None:
        return None
    return msgspec.structs.replace(record, details={"witness": {"result": kept}})


def _findings(path: Path, recorded: Recorded, source: Path | None, films: bool) -> list[Finding]:
    if not path.exists():
        raise BadInput(f"{path} does not exist; name a result, a folder of results or a bag.")
    if (path / "bagit.txt").is_file():
        return _bag(path)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    findings = [finding for file in files if (finding := _file(file, recorded, source)) is not None]
    if films:
        known = {finding.path for finding in findings}
        findings += [Finding(file, NOTHING) for file in files if file not in known and _is_film(file)]
    if not findings:
        raise BadInput(
            f"{path} carries no record of Respool; fetch it again with --bag, or name a file that Respool made."
        )
    return findings


def _bag(path: Path) -> list[Finding]:
    """Check a bag by its manifests, then every file of it by its record."""
    try:
        bagit.Bag(str(path)).validate(processes=1)
    except bagit.BagError as error:
        return [Finding(path, "the bag's manifests", " ".join(str(error).split()))]
    records = path / RECORDS
    if not records.is_file():
        return [Finding(path, "the bag's manifests")]
    told = from_lines(records.read_bytes())
    files = [(record, facts) for record in told for facts in (record.result, record.masks) if facts is not None]
    return [_whole(path / "data" / facts.name, record, facts) for record, facts in files]


def _whole(path: Path, record: Record, facts: FileFacts) -> Finding:
    how = "its record's SHA-256"
    if not path.is_file():
        return Finding(path, how, "the file is missing")
    found = file_sha256(path)
    fault = "" if found == facts.sha256 else f"it has SHA-256 {found}, but {facts.sha256} was delivered"
    return Finding(path, how, fault, record=record)


def _file(path: Path, recorded: Recorded, source: Path | None) -> Finding | None:
    made = embedded(path)
    if made is None:
        return _mask_film(path, recorded, source)
    if source is not None and file_sha256(source) != made.source_sha256:
        return Finding(path, SOURCE, f"it was made from {made.source_sha256}, which {source} is not", made)
    for record in recorded(made.job):
        if record.item == made.item:
            whole = _whole(path, record, record.result)
            return replace(whole, made=made)
    if not made.content:
        return Finding(path, NOTHING, UNREACHED, made)
    try:
        found = content_sha256([path])
    except BadInput as error:
        return Finding(path, "its picture's SHA-256", str(error), made)
    fault = "" if found == made.content else f"its picture has SHA-256 {found}, but {made.content} was written"
    return Finding(path, "its picture's SHA-256, as the file itself says", fault, made)


def _mask_film(path: Path, recorded: Recorded, source: Path | None) -> Finding | None:
    """Check a mask film against the record of its result; None for any other file."""
    masks = read_mask_tag(_tags(path).get(TAG, ""))
    if masks is None:
        return None
    if source is not None and file_sha256(source) != masks.source_sha256:
        return Finding(path, SOURCE, f"it is of {masks.source_sha256}, which {source} is not", masks=masks)
    for record in recorded(masks.job):
        if record.item == masks.item and record.masks is not None:
            return replace(_whole(path, record, record.masks), masks=masks)
    return Finding(path, NOTHING, UNREACHED, masks=masks)


def embedded(path: Path) -> Making | None:
    """Read the provenance record inside a file; None for a file without one. Never raises for broken files."""
    with path.open("rb") as file:
        form = sniff(file.read(HEAD))
        try:
            if form == "tiff":
                page = next(tiff.directories(file, path.name), None)
                return xmp.found(metadata_tiff.read(page).xmp) if page else None
            reader = {"jpeg": metadata_jpeg.read, "png": metadata_png.read, "webp": metadata_webp.read}.get(form or "")
            if reader is not None:
                return xmp.found(reader(file).xmp)
        except BadInput:
            return None
    if form == "avif":
        return xmp.found(path.read_bytes())
    return _film(path)


def _is_film(path: Path) -> bool:
    with path.open("rb") as file:
        if sniff(file.read(HEAD)) is not None:
            return False
    try:
        with path.open("rb") as file, open_media(file, path.name) as container:
            return bool(container.streams.video)
    except BadInput:
        return path.suffix[1:].lower() in CONTAINERS  # a film by its name, which cannot be opened


def _tags(path: Path) -> dict[str, str]:
    """Return the tags of a film, their names in upper case; none of what is no film."""
    try:
        with path.open("rb") as file, open_media(file, path.name) as container:
            return {name.upper(): value for name, value in container.metadata.items()}
    except BadInput:
        return {}


def _film(path: Path) -> Making | None:
    tags = _tags(path)
    for name in (RECORD, MP4_RECORD.upper()):
        if name in tags and (made := read(tags[name])):
            return made
    return None
