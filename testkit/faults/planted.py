"""Faults planted into Respool's own code, as defects would be: the code runs on, and nothing but a check can notice.

RESPOOL_FAULT=planted:<folder> installs all of them in every process of a cluster; <folder>/planted holds the name of the
one that is active, so that a cluster serves many jobs. Each acts in the middle of a film, in the same way on every try.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

Patch = Callable[[ModuleType], None]

SWAPPED, DOUBLED, DROPPED, SHIFTED = "frame swapped", "frame doubled", "frame dropped", "frames off by one"
WRONG_KEY, NO_KEY = "key frame of another chunk", "key frame missing"
FOREIGN = "packets of another chunk"
NO_STATE = "decoder state forgotten"
SWAPPED_LATER, DOUBLED_LATER = "frames swapped after the fingerprint", "frame doubled after the fingerprint"
SWAPPED_NETWORK = "frames swapped beside the network"
INVERTED = "picture inverted after the fingerprint"
EXCHANGED, LAST_LOST = "segments exchanged at joining", "last frame lost at joining"
SOUND_CUT, SUBTITLE_LOST = "sound cut", "subtitle packet lost"
PHANTOM = "phantom stream"
LATE, STRETCHED = "times off by one frame", "times stretched"


def active(name: str) -> bool:
    """Return True while the fault `name` is to act."""
    path = Path(os.environ["RESPOOL_FAULT"].partition(":")[2]) / "planted"
    return path.exists() and path.read_text() == name


def _wrap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    setattr(owner, name, make(getattr(owner, name)))


def _decoder(module: ModuleType) -> None:
    """Exchange, double or leave out frames in the decoder of a chunk, before anything looks at them."""

    def make(whole: Any) -> Any:
        def frames(self: Any) -> Iterator[tuple[int, Any]]:
            found, first = dict(whole(self)), self.header.first
            later = first > 0 and {first + 1, first + 2} <= found.keys()
            if later and active(SWAPPED):
                found[first + 1], found[first + 2] = found[first + 2], found[first + 1]
            elif later and active(DOUBLED):
                found[first + 2] = found[first + 1]
            elif later and active(DROPPED):
                del found[first + 2]
            elif later and active(SHIFTED):
                found = {at: found.get(at + 1, frame) for at, frame in found.items()}
            yield from sorted(found.items(), key=lambda pair: pair[0])

        return frames

    _wrap(module.RunDecoder, "__iter__", make)


def _runs(module: ModuleType) -> None:
    """Give chunks the key frame of the chunk before, none at all, or its packets."""
    before: dict[str, Any] = {}

    def make(whole: Any) -> Any:
        def write_run(header: Any, packets: Iterable[Any]) -> Iterator[bytes]:
            import msgspec

            own = list(packets)
            sound = list(own)
            at, earlier = header.preroll, before.get("packets")
            if earlier is not None and active(WRONG_KEY):
                own[at] = msgspec.structs.replace(own[at], data=earlier[before["preroll"]].data)
            elif header.first and active(NO_KEY):
                own = own[at + 1 :]
                header = msgspec.structs.replace(header, preroll=0)
            elif earlier is not None and active(FOREIGN):
                pairs = zip(own[at:], earlier[before["preroll"] :], strict=False)
                own[at:] = [msgspec.structs.replace(mine, data=other.data) for mine, other in pairs]
            before.update(packets=sound, preroll=at)
            return iter(whole(header, own))

        return write_run

    _wrap(module, "write_run", make)


def _state(module: ModuleType) -> None:
    """Forget the decoder state of a film (extradata, palettes) at the start of chunks."""

    def make(whole: Any) -> Any:
        def entry(self: Any, data: bytes, side: Any) -> Any:
            return module.Entry(data, side) if active(NO_STATE) else whole(self, data, side)

        return entry

    _wrap(module.DecoderState, "entry", make)


def _encoder(module: ModuleType) -> None:
    """Spoil frames on their way from the fingerprint to the encoder."""

    def make(whole: Any) -> Any:
        def write(self: Any, ordinal: int, frame: Any) -> None:
            if active(SWAPPED_LATER) and ordinal == 1:
                self.waiting = frame
                return
            if active(SWAPPED_LATER) and ordinal == 2:
                whole(self, 1, frame)
                whole(self, 2, self.waiting)
                return
            if active(DOUBLED_LATER) and ordinal == 2:
                frame = self.waiting
            elif active(DOUBLED_LATER) and ordinal == 1:
                self.waiting = frame
                frame = _copy(frame)
            elif active(INVERTED) and ordinal == 2:
                frame = _inverted(frame)
            whole(self, ordinal, frame)

        return write

    _wrap(module.ChunkEncoder, "write", make)


def _copy(frame: Any) -> Any:
    import av

    return av.VideoFrame.from_ndarray(frame.to_ndarray(), format=frame.format.name)


def _inverted(frame: Any) -> Any:
    import av
    import numpy as np

    turned = np.subtract(frame.to_ndarray().max(), frame.to_ndarray())
    return av.VideoFrame.from_ndarray(turned, format=frame.format.name)


def _network(module: ModuleType) -> None:
    """Give two inputs of the network each other's place."""

    def make(whole: Any) -> Any:
        def inputs(self: Any, batches: Iterator[Any]) -> Iterator[Any]:
            held: list[Any] = []
            for ordinals, rgb in whole(self, batches):
                if active(SWAPPED_NETWORK) and ordinals[0] in (1, 2):
                    held.append((ordinals, rgb))
                    if len(held) == 2:
                        (first, one), (second, other) = held
                        yield first, other
                        yield second, one
                        held.clear()
                else:
                    yield ordinals, rgb
            yield from held

        return inputs

    _wrap(module.NetworkStages, "inputs", make)


def _joiner(module: ModuleType) -> None:
    """Exchange segments, and lose a film's last frame."""

    def make(whole: Any) -> Any:
        def begin(self: Any, index: Any, chunks: Iterable[Any], *rest: Any, **more: Any) -> None:
            whole(self, index, _exchanged(chunks) if active(EXCHANGED) else chunks, *rest, **more)

        return begin

    def shorter(whole: Any) -> Any:
        def packets(self: Any) -> Iterator[Any]:
            found = list(whole(self))
            yield from found[:-1] if active(LAST_LOST) else found

        return packets

    _wrap(module.ChunkJoiner, "__init__", make)
    _wrap(module.ChunkJoiner, "__iter__", shorter)


def _exchanged(chunks: Iterable[Any]) -> Iterator[Any]:
    data = [chunk.read() for chunk in chunks]
    data[1], data[2] = data[2], data[1]
    yield from map(io.BytesIO, data)


def _demuxer(module: ModuleType) -> None:
    """Lose sound or a subtitle in our demuxing, wherever it is used."""

    def make(whole: Any) -> Any:
        def demux(container: Any, streams: set[int], broken: list[str]) -> Iterator[Any]:
            told = 0
            for packet in whole(container, streams, broken):
                kind = packet.stream.type
                told += kind == "subtitle"
                late = packet.pts is not None and packet.pts * packet.time_base > 1
                if not (active(SOUND_CUT) and kind == "audio" and late) and not (
                    active(SUBTITLE_LOST) and kind == "subtitle" and told == 2
                ):
                    yield packet

        return demux

    _wrap(module, "demux", make)


def _assembly(module: ModuleType) -> None:
    """Add a stream to the result that no source has."""

    def make(whole: Any) -> Any:
        def assemble_film(index: Any, spec: Any, source: Any, chunks: Any, out: Path, *rest: Any, **more: Any) -> Any:
            notes = whole(index, spec, source, chunks, out, *rest, **more)
            if active(PHANTOM):
                _add_stream(out)
            return notes

        return assemble_film

    _wrap(module, "assemble_film", make)


def _add_stream(out: Path) -> None:
    import av

    plain = out.with_name("plain" + out.suffix)
    out.rename(plain)
    with av.open(str(plain)) as source, av.open(str(out), "w") as target:
        target.metadata.update(source.metadata)
        copied = {}
        for s in source.streams:
            copied[s.index] = target.add_stream_from_template(s, opaque=True)
            copied[s.index].metadata.update(s.metadata)
            copied[s.index].disposition = s.disposition
        sound = target.add_stream("pcm_s16le", rate=8000, layout="mono")
        target.set_chapters(source.chapters())
        packets = [p for p in source.demux(*[source.streams[n] for n in copied]) if p.dts is not None]
        for packet in packets:
            packet.stream = copied[packet.stream_index]
            target.mux(packet)
        packet = av.Packet(320)
        packet.pts = packet.dts = 0
        packet.time_base = Fraction(1, 8000)
        packet.stream = sound
        target.mux(packet)
    plain.unlink()


def _plan(module: ModuleType) -> None:
    """Make the times of the index wrong, so that everything which works by the index agrees on them."""

    def make(whole: Any) -> Any:
        def plan_film(*arguments: Any, **named: Any) -> Any:
            import msgspec

            from media.columns import pack, unpack

            index = whole(*arguments, **named)
            pts, half = unpack(index.pts).copy(), index.frames // 2
            if active(LATE):
                pts[half:] += pts[1] - pts[0]
            elif active(STRETCHED):
                pts = pts * 1001 // 1000
            return msgspec.structs.replace(index, pts=pack(pts))

        return plan_film

    _wrap(module, "plan_film", make)


PATCHES: dict[str, Patch] = {
    "workers.film.decode": _decoder,
    "workers.film.encode": _encoder,
    "workers.film.chunk": _network,
    "orchestrator.ingest.packet_runs": _runs,
    "orchestrator.ingest.film": _plan,
    "orchestrator.assemble.concat": _joiner,
    "orchestrator.assemble.film": _assembly,
    "media.decoder_state": _state,
    "media.demuxing": _demuxer,
}
"""The modules that are patched right after they were executed."""
