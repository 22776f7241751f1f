"""The check of the files beside a film: those that its index asks for, each opened and read to its end."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import PurePosixPath
from typing import BinaryIO

import msgspec

from contract.errors import BadInput
from contract.film import FilmIndex, SourceStream
from media.opening import DEMUXERS, open_media
from media.plain_decode import Look, read_file
from media.unheld import CAPTION_TRACKS
from orchestrator.witness.expectation import Heard

SIDECAR_DEMUXERS = (*DEMUXERS, "wav", "srt", "webvtt")


class _Marks(msgspec.Struct):
    """As much of a file of time code as is looked at."""

    marks: list[object]


SCC_HEAD = b"Scenarist_SCC V1.0"
"""The first bytes of a file of captions."""


def sidecar_faults(
    beside: Mapping[str, bytes], index: FilmIndex, result: str, source: Callable[[Collection[int]], Mapping[int, Heard]]
) -> list[str]:
    """Return the faults of the files `beside` the film called `result`. `source` decodes streams of the source."""
    stem = str(PurePosixPath(result).with_suffix(""))
    streams = {f"{stem}.stream{s.index}.{s.sidecar[1]}": s for s in index.streams if s.sidecar is not None}
    marks = {f"{stem}.timecode.json"} if index.time_marks else set()
    captions = {f"{stem}.scc"} if index.captions else set()
    captions |= {f"{stem}.stream{s.index}.scc" for s in streams.values() if s.codec in CAPTION_TRACKS}
    found = [f"{name} beside it is missing" for name in sorted((streams.keys() | marks) - beside.keys())]
    found += [
        f"{name} beside it belongs to nothing in the source"
        for name in sorted(beside.keys() - streams - marks - captions)
    ]
    for name, content in beside.items():
        if name in streams:
            found += _stream(name, content, streams[name], source)
        elif name in marks and len(_marks(content)) != len(index.time_marks):
            found.append(f"{name} beside it has not the {len(index.time_marks)} marks of the source")
        elif name in captions and not content.startswith(SCC_HEAD):
            found.append(f"{name} beside it is no file of captions")
    return found


def _marks(content: bytes) -> list[object]:
    try:
        return msgspec.json.decode(content, type=_Marks).marks
    except msgspec.DecodeError:
        return []


def _stream(
    name: str, content: bytes, known: SourceStream, source: Callable[[Collection[int]], Mapping[int, Heard]]
) -> Iterator[str]:
    try:
        file: BinaryIO = io.BytesIO(content)
        with open_media(file, name, SIDECAR_DEMUXERS) as container:
            reading = read_file(container, Look(everything=True))
    except BadInput as error:
        yield f"{name} beside it cannot be read: {error}"
        return
    streams = list(reading.streams.values())
    if len(streams) != 1 or streams[0].kind != known.kind:
        yield f"{name} beside it has {len(streams)} streams, expected was one of {known.kind}"
        return
    if known.packets and not streams[0].listed:
        yield f"{name} beside it has no packets, in the source {known.packets}"
    if known.kind == "audio":
        heard = source({known.index})[known.index]
        if streams[0].samples != heard.samples:
            yield f"{name} beside it gives {streams[0].samples} samples, {heard.samples} in the source"
        if streams[0].complained > heard.complained:
            yield f"{name} beside it does not decode: {streams[0].complaints[-1][1]}"
