"""Results that are malformed on purpose: the packets of a sound film, muxed again with one fault."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.stream import Stream

Packets = list[tuple[int, "Packet[Any]"]]
"""Packets in the order of the file, each with its stream."""


@dataclass(frozen=True)
class Fault:
    """One fault. `packets` changes what is muxed, `dress` the open file; `left` are kinds of streams that are left out."""

    name: str
    says: str
    """A pattern of the sentence by which it must be found."""
    packets: Callable[[Packets], Packets] = lambda found: found
    dress: Callable[[OutputContainer], None] = lambda _: None
    left: frozenset[str] = frozenset()
    chapters: bool = True
    cut: Callable[[bytes], bytes] = lambda data: data
    sampled: bool = True
    """True when the fault can be seen without decoding the film to its end."""


def malformed(data: bytes, form: str, fault: Fault) -> bytes:
    """Mux the film `data` again as `form`, with `fault`."""
    sink = io.BytesIO()
    with (
        av.open(io.BytesIO(data), "r") as source,
        av.open(sink, "w", format=form, container_options={"avoid_negative_ts": "disabled"}) as out,
    ):
        streams = _streams(source, out, fault)
        if fault.chapters:
            out.set_chapters(source.chapters())
        fault.dress(out)
        packets = [(p.stream_index, p) for p in source.demux() if p.size and p.stream_index in streams]
        for number, packet in fault.packets(packets):
            packet.stream = streams[number]
            out.mux(packet)
    return fault.cut(sink.getvalue())


def _streams(source: InputContainer, out: OutputContainer, fault: Fault) -> dict[int, Stream]:
    """Add the source's streams but those left out; attachments come last."""
    kept = [s for s in source.streams if s.type not in fault.left]
    streams: dict[int, Stream] = {}
    for stream in sorted(kept, key=lambda s: s.type == "attachment"):
        new = out.add_stream_from_template(stream, opaque=True)
        new.time_base = stream.time_base
        new.metadata.update(stream.metadata)
        new.disposition = stream.disposition
        streams[stream.index] = new
    return streams


def _of(kind: str, packets: Packets) -> list[int]:
    """Return the places of the packets of the first stream of `kind`."""
    numbers = [number for number, packet in packets if packet.stream.type == kind]
    return [i for i, (number, _) in enumerate(packets) if number == min(numbers)]


def _without(kind: str, count: int, at_start: bool = False) -> Callable[[Packets], Packets]:
    """Return a function that leaves out the last or first `count` packets of a stream."""

    def change(packets: Packets) -> Packets:
        places = _of(kind, packets)
        gone = set(places[:count] if at_start else places[-count:])
        return [pair for i, pair in enumerate(packets) if i not in gone]

    return change


def _broken(kind: str, number: int) -> Callable[[Packets], Packets]:
    """Return a function that overwrites the middle of packet `number` of a stream."""

    def change(packets: Packets) -> Packets:
        packet = packets[_of(kind, packets)[number]][1]
        data = bytearray(bytes(packet))
        third = max(1, len(data) // 3)
        data[third : 2 * third] = bytes((b ^ 0xA5) for b in data[third : 2 * third])
        packet.update(bytes(data))
        return packets

    return change


def _same_time(packets: Packets) -> Packets:
    places = _of("video", packets)
    first, second = packets[places[5]][1], packets[places[6]][1]
    second.pts, second.dts = first.pts, first.dts
    return packets


def _late(frames: int) -> Callable[[Packets], Packets]:
    """Return a function that shows all pictures later by the duration of `frames` frames."""

    def change(packets: Packets) -> Packets:
        for i in _of("video", packets):
            packet = packets[i][1]
            move = frames * round(Fraction(1, 25) / packet.time_base)
            packet.pts, packet.dts = (packet.pts or 0) + move, None if packet.dts is None else packet.dts + move
        return packets

    return change


def _swapped(packets: Packets) -> Packets:
    """Exchange the times of two pictures."""
    places = _of("video", packets)
    first, second = packets[places[10]][1], packets[places[11]][1]
    first.pts, second.pts, first.dts, second.dts = second.pts, first.pts, first.dts, first.dts
    return packets


def _far(packets: Packets) -> Packets:
    """Show the last picture an hour later."""
    packet = packets[_of("video", packets)[-1]][1]
    hour = round(3600 / packet.time_base)
    packet.pts, packet.dts = (packet.pts or 0) + hour, (packet.dts or 0) + hour
    return packets


def _phantom(out: OutputContainer) -> None:
    out.add_stream("flac", rate=48000)


FAULTS = (
    Fault("a phantom stream", "belongs to nothing|announced and has no packets", dress=_phantom),
    Fault("no sound", r"audio, \w+\) is missing", left=frozenset(("audio",))),
    Fault("no subtitles", r"subtitle, \w+\) is missing", left=frozenset(("subtitle",))),
    Fault("no attachment", "attachment, .* is missing", left=frozenset(("attachment",))),
    Fault("no chapters", "chapter 'One' at 0.000 s is missing", chapters=False),
    Fault("sound cut at its end", "samples in the result", _without("audio", 4), sampled=False),
    Fault("sound cut at its start", "samples in the result", _without("audio", 4, at_start=True), sampled=False),
    Fault("a broken packet of sound", "complaints|samples", _broken("audio", 9), sampled=False),
    Fault("the last frame missing", "frames, expected were", _without("video", 1)),
    Fault("the first frame missing", "frames, expected were", _without("video", 1, at_start=True)),
    Fault("a broken picture", "does not decode", _broken("video", 30), sampled=False),
    Fault("two frames at one time", "at the time of another", _same_time),
    Fault("two frames exchanged", "fall back", _swapped, sampled=False),
    Fault("pictures a frame late", "first frame is shown", _late(1)),
    Fault("the last frame an hour late", " off", _far),
    Fault(
        "cut off",
        "breaks off|frames, expected|cannot be read|has no packets",
        cut=lambda data: data[: len(data) * 2 // 3],
    ),
)
