"""Files beside a result, for what its container has no place for: captions, time code, streams."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

import av
import msgspec

from contract.film import FilmIndex
from media.columns import unpack
from media.demuxing import demux, hidden_sound
from media.opening import open_media
from media.piece import move_packet, window_of
from media.unheld import CAPTION_TRACKS
from orchestrator.assemble.captions import Captions, scc, track_scc
from orchestrator.mask_names import mask_name

if TYPE_CHECKING:
    from collections.abc import Iterator


def sidecars(source: BinaryIO, index: FilmIndex, captions: Captions, result: str) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the files that belong beside the result called `result`: .scc, .timecode.json, .streamN.*.

    A track of CEA-608 is there twice: as it is, and as a Scenarist file.
    """
    stem = str(PurePosixPath(result).with_suffix(""))
    text = scc(captions, index)
    if text:
        yield f"{stem}.scc", text.encode()
    if index.time_marks:
        yield f"{stem}.timecode.json", _marks(index)
    for known in index.streams:
        if known.sidecar is not None:
            muxer, suffix = known.sidecar
            yield f"{stem}.stream{known.index}.{suffix}", stream_alone(source, known.index, muxer, index)
            track = track_scc(source, known.index, index) if known.codec in CAPTION_TRACKS else ""
            if track:
                yield f"{stem}.stream{known.index}.scc", track.encode()


def twin_name(name: str, result: str, twin: str) -> str:
    """Return the name that the file `name` beside `result` has beside `twin`, a copy of that result."""
    if name == mask_name(result):
        return mask_name(twin)
    return str(PurePosixPath(twin).with_suffix("")) + name.removeprefix(str(PurePosixPath(result).with_suffix("")))


def stream_alone(source: BinaryIO, number: int, muxer: str, index: FilmIndex) -> bytes:
    """Return a file of kind `muxer` that holds stream `number` of the source, packet by packet.

    Its times are the source's, or those of the piece that is restored.
    """
    window, move = window_of(index), index.moved * Fraction(*index.time_base)
    with tempfile.TemporaryFile() as file:
        with open_media(source, "the source") as container, av.open(file, "w", format=muxer) as out:
            stream = out.add_stream_from_template(container.streams[number], opaque=True)
            for packet in demux(container, {number}, []):
                if packet.size and not hidden_sound(packet) and (window is None or window.holds(packet)):
                    if window is not None:
                        window.clip(packet)
                        move_packet(packet, move)
                    packet.stream = stream
                    out.mux(packet)
        file.seek(0)
        return file.read()


def _marks(index: FilmIndex) -> bytes:
    """Return time code and recording dates with the frames from which they run, as JSON."""
    pts, base = unpack(index.pts), Fraction(*index.time_base)
    marks = [
        {
            "frame": mark.first,
            "seconds": round(float((int(pts[mark.first]) + index.moved) * base), 6),
            mark.kind: mark.value,
            "of": mark.of,
        }
        for mark in index.time_marks
    ]
    facts = {"frames": index.frames, "rate": str(index.rate), "marks": marks}
    return msgspec.json.format(msgspec.json.encode(facts), indent=2) + b"\n"
