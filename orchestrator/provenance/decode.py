"""A second look at an old film: decoded to its end, and held against its record, its source, and itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from contract.errors import BadInput, RespoolError
from contract.film import FilmIndex
from contract.job import Codec, Item, Spec
from contract.provenance import Making
from media.codecs import CONTAINERS
from media.opening import open_media
from orchestrator.result_record import Record
from orchestrator.witness.expectation import WRITTEN, expected_result, unjudged
from orchestrator.witness.result_check import faults, faults_of
from orchestrator.witness.result_reading import ReadStream, ResultReading, read_result, summary
from orchestrator.witness.source_reading import read_copies, read_source

Plan = Callable[[Path, Item, Spec, int], FilmIndex]
"""Function that plans a source as ingest does: its path, item, spec and the network's scale."""
LISTED = ("packets", "begins_s", "ends_s")
DECODED = ("frames", "samples", "sizes", "complaints")
"""Facts of a stream that a record has: of its packets, and of its decode."""


@dataclass(frozen=True)
class Decode:
    """Outcome of a decode: `facts` of the file, `faults`, and in words what was checked and what was not."""

    facts: dict[str, object]
    faults: list[str]
    checked: list[str]
    unchecked: list[str]


def decode_film(
    path: Path, made: Making | None, record: Record | None, source: Path | None, plan: Plan | None
) -> Decode:
    """Decode the film at `path` and hold it against its `record` and its `source`, where they are given."""
    try:
        with path.open("rb") as file:
            reading = read_result(file, path.name)
    except BadInput as error:
        return Decode({}, [str(error)], [], ["everything"])
    outcome = Decode(summary(reading), [], [_said(reading)], [])
    _against_record(outcome, record, path)
    if source is None or plan is None:
        empty = {n for n, known in enumerate(_kept(record)) if not known["packets"]}
        outcome.faults[:0] = faults_of(reading, empty)
        outcome.faults.extend(_unjudged(reading, record))
        outcome.unchecked.append("times, sound and chapters against the source: name it with --source")
    else:
        _against_source(outcome, reading, (path, made, record), source, plan)
    return outcome


def _said(reading: ResultReading) -> str:
    said = []
    for stream in reading.streams:
        if stream.kind == "video":
            sizes = " and ".join(f"{w}x{h}" for w, h in stream.sizes)
            said.append(f"{stream.frames} frames ({stream.codec}, {sizes})")
        elif stream.kind == "audio":
            said.append(f"{stream.samples} samples of sound ({stream.codec})")
    return f"decoded to the end: {', '.join(said) or 'nothing'}; decoders' and demuxer's complaints, times, announced lengths"


def _against_record(outcome: Decode, record: Record | None, path: Path) -> None:
    if record is None:
        outcome.unchecked.append("streams and counts against a record: none can be reached")
        return
    witness = record.details.get("witness", {})
    kept = witness.get("result")
    if kept is not None:
        outcome.checked.append(
            "streams, packets, frames, their size, first and last times, samples and chapters against its record"
        )
        outcome.faults.extend(_unlike(outcome.facts, kept))
    elif witness.get("choice") == "full" and "frames" in witness and not record.damage:
        outcome.checked.append("the number of frames against its record")
        mine = max((s["frames"] for s in _streams(outcome.facts) if s["kind"] == "video"), default=0)
        if mine != witness["frames"]:
            outcome.faults.append(f"it has {mine} frames, in its record {witness['frames']}")
    else:
        outcome.unchecked.append("streams and counts: its record does not have them")
    beside = [name for name in record.details.get("sidecars", ()) if not (path.parent / Path(name).name).is_file()]
    if beside:
        outcome.unchecked.append(f"files delivered beside it that are not there ({', '.join(beside)})")


def _unjudged(reading: ResultReading, record: Record | None) -> Iterator[str]:
    """Yield complaints about sound, where neither source nor record tells whether the source has them, too."""
    if _kept(record):
        return
    for stream in reading.streams:
        if stream.kind == "audio" and stream.complained:
            yield (
                f"sound of stream {stream.index} does not decode after block {stream.complaints[0][0]}: "
                f"{stream.complaints[0][1]} (name the source with --source, which may have the same damage)"
            )


def _streams(facts: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = facts["streams"]
    return found


def _kept(record: Record | None) -> list[dict[str, Any]]:
    """Return the streams of the result as its record has them."""
    kept = record.details.get("witness", {}).get("result") if record is not None else None
    return _streams(kept) if kept else []


def _unlike(facts: dict[str, Any], kept: dict[str, Any]) -> Iterator[str]:
    """Yield where a reading differs from the one in a record. Where that decoded a part only, packets are compared."""
    mine, theirs = _streams(facts), _streams(kept)
    if [(s["kind"], s["codec"]) for s in mine] != [(s["kind"], s["codec"]) for s in theirs]:
        yield f"it has the streams {_named(mine)}, in its record {_named(theirs)}"
        return
    for n, (now, then) in enumerate(zip(mine, theirs, strict=True)):
        for what in (*LISTED, *DECODED) if kept["decoded"] == "all" else LISTED:
            if now[what] != then[what]:
                yield f"stream {n} ({now['kind']}, {now['codec']}) has {what} {now[what]}, in its record {then[what]}"
    if facts["chapters"] != kept["chapters"]:
        yield f"it has {facts['chapters']} chapters, in its record {kept['chapters']}"


def _named(streams: list[dict[str, Any]]) -> str:
    return ", ".join(f"{s['kind']} {s['codec']}" for s in streams) or "none"


def _against_source(
    outcome: Decode,
    reading: ResultReading,
    known: tuple[Path, Making | None, Record | None],
    source: Path,
    plan: Plan,
) -> None:
    path, made, record = known
    films = reading.films
    if not films:
        outcome.faults[:0] = faults_of(reading)
        return
    item = Item(0, "video", source.name, path.name, "0" * 64, source.stat().st_size)
    spec = _spec(path, films[0], made, record)
    try:
        index = plan(source, item, spec, 1)
        with source.open("rb") as file:
            plain = read_source(file, index, "full", source.name, _nothing)
            heard = read_copies(file, index, unjudged(reading, index, {}), source.name, _nothing)
            delivered = films[0].frames if films[0].frames in (index.frames, plain.frames) else index.frames
            with open_media(file, source.name) as container:
                index = _sized(index, films[0])
                expected = expected_result(index, container, delivered, heard)
    except RespoolError as error:
        outcome.unchecked.append(f"the source, which cannot be planned as this result ({error})")
        outcome.faults[:0] = faults_of(reading)
        return
    outcome.checked.append("streams, frames, times, sound and chapters against the source")
    outcome.faults[:0] = faults(reading, expected)
    if not any("their size" in words for words in outcome.checked):
        outcome.unchecked.append("the size of frames, which the source alone does not tell")


def _spec(path: Path, film: ReadStream, made: Making | None, record: Record | None) -> Spec:
    """Return the options that the result was made with, as far as they are known: else its own codec and container."""
    if record is not None:
        return msgspec.convert(record.parameters, Spec)
    codec: Codec = next((codec for codec, name in WRITTEN.items() if name == film.codec), "x264")
    suffix = path.suffix[1:].lower()
    return Spec(
        model=made.model if made else "identity",
        codec=codec,
        container=suffix if suffix in CONTAINERS else None,
        deinterlace="off",
        hdr=True,
        piece=made.piece.bounds if made and made.piece else None,
    )


def _sized(index: FilmIndex, film: ReadStream) -> FilmIndex:
    """Return the index with the size that the result has, which a plan without the network's scale does not know."""
    if not film.sizes:
        return index
    width, height = film.sizes[0]
    return msgspec.structs.replace(index, encoding=msgspec.structs.replace(index.encoding, width=width, height=height))


def _nothing() -> None:
    """Do nothing at a checkpoint: a command ends by its signals."""
