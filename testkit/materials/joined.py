"""Films joined or stripped byte by byte, as tools other than FFmpeg do it."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
from av.packet import PacketSideData, packet_sidedata_type_from_literal

from media.jpeg_tables import jpeg_tables

Box = tuple[bytes, bytes]


def boxes(data: bytes) -> list[Box]:
    """List the boxes in `data` as (type, payload)."""
    found, at = [], 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += size
    return found


def box(kind: bytes, payload: bytes) -> bytes:
    """Return one box."""
    return (len(payload) + 8).to_bytes(4, "big") + kind + payload


def inside(data: bytes, *path: bytes) -> bytes:
    """Return the payload of the first box at `path`."""
    for name in path:
        data = next(payload for kind, payload in boxes(data) if kind == name)
    return data


TABLE = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def joined_mp4(first: bytes, second: bytes) -> bytes:
    """Join two mp4 files of one video track each into one track with two sample descriptions, as MP4Box -cat does."""
    tables = [dict(boxes(inside(data, *TABLE))) for data in (first, second)]
    payloads = [_samples(data) for data in (first, second)]
    counts = [len(sizes) for _, sizes in payloads]
    merged = [
        (b"stsd", b"\0\0\0\0\0\0\0\2" + tables[0][b"stsd"][8:] + tables[1][b"stsd"][8:]),
        *[(k, _appended(tables, k, counts)) for k in (b"stts", b"ctts") if any(k in t for t in tables)],
        (b"stss", _keys(tables, counts)),
        (b"stsz", struct.pack(">III", 0, 0, sum(counts)) + b"".join(s for _, sizes in payloads for s in sizes)),
        (b"stsc", struct.pack(">II6I", 0, 2, 1, counts[0], 1, 2, counts[1], 2)),
    ]
    head = box(b"ftyp", inside(first, b"ftyp"))
    offsets = len(head) + 8, len(head) + 8 + len(payloads[0][0])
    merged.append((b"stco", struct.pack(">IIII", 0, 2, *offsets)))
    table = b"".join(box(kind, payload) for kind, payload in merged)
    moov = _rebuilt(inside(first, b"moov"), TABLE[1:], table)
    return head + box(b"mdat", payloads[0][0] + payloads[1][0]) + box(b"moov", moov)


def _samples(data: bytes) -> tuple[bytes, list[bytes]]:
    """Return all samples of the only track, and their sizes as stored."""
    with av.open(io.BytesIO(data), "r") as container:
        packets = [bytes(p) for p in container.demux(container.streams.video[0]) if p.size]
    return b"".join(packets), [len(p).to_bytes(4, "big") for p in packets]


def _appended(tables: list[dict[bytes, bytes]], kind: bytes, counts: list[int]) -> bytes:
    """Both files' entries; a file without any has one for all its samples that says nothing."""
    entries = [t[kind][8:] if kind in t else struct.pack(">II", n, 0) for t, n in zip(tables, counts, strict=True)]
    head = next(t[kind][:4] for t in tables if kind in t)
    return head + (sum(map(len, entries)) // 8).to_bytes(4, "big") + b"".join(entries)


def _keys(tables: list[dict[bytes, bytes]], counts: list[int]) -> bytes:
    numbers: list[int] = []
    for table, before in zip(tables, (0, counts[0]), strict=True):
        body = table[b"stss"][8:]
        numbers += [n + before for n in struct.unpack(f">{len(body) // 4}I", body)]
    return struct.pack(f">II{len(numbers)}I", 0, len(numbers), *numbers)


def _rebuilt(data: bytes, path: tuple[bytes, ...], table: bytes) -> bytes:
    """Replace the sample table at `path` in the boxes of `data`, drop edit lists and double the durations."""
    out = b""
    for kind, payload in boxes(data):
        if kind == b"edts":
            continue
        if kind == path[0]:
            payload = table if len(path) == 1 else _rebuilt(payload, path[1:], table)
        elif kind in (b"mvhd", b"mdhd", b"tkhd"):
            at = 20 if kind == b"tkhd" else 16
            payload = (
                payload[:at] + struct.pack(">I", 2 * int.from_bytes(payload[at : at + 4], "big")) + payload[at + 4 :]
            )
        out += box(kind, payload)
    return out


def with_box(data: bytes, entry: bytes, added: bytes) -> bytes:
    """Add a box to the video track's sample entry `entry` of an mp4 whose index is behind the samples."""
    at = data.rfind(b"moov") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    path = [b"trak", b"mdia", b"minf", b"stbl", b"stsd"]

    def grown(body: bytes, depth: int) -> bytes:
        if depth == len(path):
            inner = int.from_bytes(body[8:12], "big")
            assert body[12:16] == entry, body[12:16]
            return body[:8] + (inner + len(added)).to_bytes(4, "big") + body[12 : 8 + inner] + added + body[8 + inner :]
        return b"".join(
            box(k, grown(b, depth + 1) if k == path[depth] and (depth or b"vide" in b) else b) for k, b in boxes(body)
        )

    return data[:at] + box(b"moov", grown(data[at + 8 : at + size], 0)) + data[at + size :]


def joined_flv(first: bytes, second: bytes, gap: int = 40) -> bytes:
    """Join two FLV files: the second's tags, headers included, follow the first's, `gap` milliseconds later."""
    out, last = first[:13], 0
    for kind, time, payload in _tags(first):
        if kind == 9 and payload[1] == 2:  # the end of an H.264 sequence
            continue
        out += _tag(kind, time, payload)
        last = max(last, time)
    for kind, time, payload in _tags(second):
        if kind != 18:
            out += _tag(kind, time + last + gap, payload)
    return out


def _tags(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 13
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        yield (
            data[at],
            data[at + 7] << 24 | int.from_bytes(data[at + 4 : at + 7], "big"),
            data[at + 11 : at + 11 + size],
        )
        at += 15 + size


def _tag(kind: int, time: int, payload: bytes) -> bytes:
    size = len(payload).to_bytes(3, "big")
    head = bytes((kind,)) + size + (time & 0xFFFFFF).to_bytes(3, "big") + bytes((time >> 24,)) + b"\0\0\0"
    return head + payload + (len(payload) + 11).to_bytes(4, "big")


def without_later(data: bytes, wanted: Callable[[bytes], bool], keep: int = 1) -> bytes:
    """Remove from a raw stream all `wanted` units but the first `keep`."""
    parts = data.split(b"\0\0\1")
    kept, seen = [parts[0]], 0
    for part in parts[1:]:
        if part and wanted(part):
            seen += 1
            if seen > keep:
                continue
        kept.append(part)
    return b"\0\0\1".join(kept)


def patched(data: bytes, form: str, change: Callable[[int, bytes], tuple[bytes, dict[str, bytes]]]) -> bytes:
    """Remux a film into `form`; `change` maps each video packet's (number, bytes) to (new bytes, side data)."""
    sink = io.BytesIO()
    with av.open(io.BytesIO(data), "r") as source, av.open(sink, "w", format=form) as container:
        streams = {s.index: container.add_stream_from_template(s, opaque=True) for s in source.streams}
        number = 0
        for packet in source.demux():
            if not packet.size:
                continue
            new = packet
            if packet.stream.type == "video":
                payload, side = change(number, bytes(packet))
                number += 1
                new = av.Packet(len(payload))
                new.update(payload)
                new.pts, new.dts, new.time_base = packet.pts, packet.dts, packet.time_base
                new.duration, new.is_keyframe = packet.duration, packet.is_keyframe
                for kind, value in side.items():
                    piece = PacketSideData(packet_sidedata_type_from_literal(kind), len(value))  # type: ignore[arg-type, call-arg]
                    piece.update(value)
                    new.set_sidedata(piece, move=True)
            new.stream = streams[packet.stream.index]
            container.mux(new)
    return sink.getvalue()


def appended(parts: list[bytes], form: str) -> bytes:
    """Put the packets of several files with the same streams on one clock one after the other into one container."""
    sink = io.BytesIO()
    with av.open(io.BytesIO(parts[0]), "r") as first, av.open(sink, "w", format=form) as container:
        streams = [container.add_stream_from_template(s, opaque=True) for s in first.streams]
        for data in parts:
            with av.open(io.BytesIO(data), "r") as source:
                for packet in source.demux():
                    if packet.size:
                        packet.stream = streams[packet.stream.index]
                        container.mux(packet)
    return sink.getvalue()


def timed(data: bytes, form: str) -> bytes:
    """Mux a raw stream without reordered frames into a container of kind `form`, at 25 frames/s."""
    sink = io.BytesIO()
    with av.open(io.BytesIO(data), "r") as source, av.open(sink, "w", format=form) as container:
        stream = container.add_stream_from_template(source.streams.video[0], opaque=True)
        stream.codec_context.extradata = None  # muxers would put its parameter sets before every key frame
        stream.time_base = Fraction(1, 25)
        for number, packet in enumerate(p for p in source.demux() if p.size):
            packet.pts = packet.dts = number
            packet.duration, packet.time_base, packet.stream = 1, Fraction(1, 25), stream
            container.mux(packet)
    return sink.getvalue()


def without_jpeg_tables(data: bytes) -> bytes:
    """Remove the quantisation and Huffman tables from a JPEG image, as in abbreviated streams."""
    for segment in jpeg_tables(data).values():
        data = data.replace(segment, b"")
    return data
