"""Captions of a film (CEA-608/708): read from the source's packets, put into the result's, and written beside it.

A result's pictures carry them where its codec is H.264 or HEVC, as messages in front of each picture (ATSC A/53 part 4
6.2.3, ITU-T H.264 D.1.6). CEA-608 is also written as a Scenarist file (.scc), which counts in 29.97 drop frame.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
from av.packet import Packet

from contract.film import FilmIndex
from contract.severity import Loss
from media.bitstream import HEAD
from media.columns import unpack
from media.demuxing import demux
from media.opening import open_media
from media.parameter_sets import length_size
from media.picture_messages import REGISTERED, caption_triplets, payloads
from media.piece import window_of
from media.time_code import TimeCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    from av.stream import Stream
    from av.video.stream import VideoStream

CARRYING = {"x264": False, "x265": True, "h264_nvenc": False, "hevc_nvenc": True}
"""Codecs whose pictures are given captions, and whether they are HEVC."""
SCC_RATE = Fraction(30000, 1001)
NOTHING = b"\x80\x80"
"""The pair of CEA-608 that says nothing."""
MAX_TRIPLETS = 31
"""Most that one message holds."""

Captions = dict[int, bytes]
"""cc_data triplets by position."""


def read_captions(source: BinaryIO, index: FilmIndex) -> Captions:
    """Return the captions of each frame of an indexed film; call it only for films that have some."""
    positions, pts = unpack(index.positions), unpack(index.pts)
    found: Captions = {}
    with open_media(source, "the source") as container:
        stream: VideoStream = container.streams[index.stream]  # type: ignore[assignment]
        lengths = length_size(index.codec, stream.codec_context.extradata or b"")
        for number, packet in enumerate(demux(container, {index.stream}, [])):
            if packet.has_sidedata("new_extradata"):
                lengths = length_size(index.codec, bytes(packet.get_sidedata("new_extradata")))
            position = _position(packet, number, index, positions, pts)
            for kind, payload in payloads(index.codec, bytes(memoryview(packet)[:HEAD]), lengths):
                triplets = caption_triplets(payload) if kind == REGISTERED else b""
                if triplets and 0 <= position < index.frames:
                    found[position] = (found.get(position, b"") + triplets)[: 3 * MAX_TRIPLETS]
    return found


def _position(
    packet: Packet[Stream], number: int, index: FilmIndex, positions: npt.NDArray[np.int64], pts: npt.NDArray[np.int64]
) -> int:
    """Return the position of a packet's frame; by its time where the film was cut as decoded frames."""
    if not index.lossless:
        return int(positions[number]) if number < len(positions) else -1
    if packet.pts is None:
        return min(number, len(pts) - 1)
    return min(int(np.searchsorted(pts, packet.pts)), len(pts) - 1)


def with_captions(packet: Packet[VideoStream], triplets: bytes, hevc: bool) -> Packet[VideoStream]:
    """Return a packet of a result (lengths of four bytes before NAL units) behind a message with captions."""
    message = caption_message(triplets, hevc)
    data = len(message).to_bytes(4, "big") + message + bytes(packet)
    new = cast("Packet[VideoStream]", Packet(len(data)))
    new.update(data)
    new.pts, new.dts, new.duration, new.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    new.is_keyframe = packet.is_keyframe
    return new


def caption_message(triplets: bytes, hevc: bool) -> bytes:
    """Return the NAL unit of a message with cc_data."""
    count = len(triplets) // 3
    payload = b"\xb5\0\x31GA94\3" + bytes((0x40 | count, 0xFF)) + triplets + b"\xff"
    body = bytes((REGISTERED, len(payload))) + payload + b"\x80"
    escaped, zeros = bytearray(), 0
    for byte in body:
        if zeros >= 2 and byte <= 3:
            escaped.append(3)
            zeros = 0
        escaped.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return (b"\x4e\1" if hevc else b"\6") + bytes(escaped)


def caption_notes(captions: Mapping[int, bytes], index: FilmIndex) -> list[str]:
    """Tell where the captions of a result are."""
    if not captions:
        return []
    beside = " and beside the result (.scc)" if scc(captions, index) else ""
    if index.encoding.codec in CARRYING:
        return [f"captions of {len(captions)} frames are in the result's pictures{beside}"]
    where = (
        "beside the result (.scc) only"
        if beside
        else "not carried: the result's pictures take none, and .scc knows CEA-608 only"
    )
    said = f"captions of {len(captions)} frames are {where}"
    return [said if beside else Loss(said)]


def scc(captions: Mapping[int, bytes], index: FilmIndex) -> str:
    """Return the CEA-608 captions of field 1 as a Scenarist file; "" when there are none."""
    pts, base = unpack(index.pts), Fraction(*index.time_base)
    lines: list[tuple[Fraction, list[str]]] = []
    following = -1
    for position in sorted(captions):
        pairs = _pairs(captions[position])
        if not pairs:
            continue
        if position != following or not lines:
            lines.append((int(pts[position]) * base, []))
        lines[-1][1].extend(pairs)
        following = position + 1
    return _scenarist(lines, index)


def track_scc(source: BinaryIO, number: int, index: FilmIndex) -> str:
    """Return the CEA-608 captions of field 1 in a track of the source as a Scenarist file; "" when there are none."""
    lines: list[tuple[Fraction, list[str]]] = []
    window = window_of(index)
    with open_media(source, "the source") as container:
        for packet in demux(container, {number}, []):
            if window is not None and not window.holds(packet):
                continue
            pairs = _pairs(bytes(packet))
            if pairs and packet.pts is not None:
                lines.append((packet.pts * packet.time_base, pairs))
    return _scenarist(lines, index)


def _pairs(triplets: bytes) -> list[str]:
    """Return the pairs of field 1 that say something, as four digits each."""
    parts = [triplets[at : at + 3] for at in range(0, len(triplets), 3)]
    return [part[1:].hex() for part in parts if part[0] & 7 == 4 and part[1:] != NOTHING]


def _scenarist(lines: list[tuple[Fraction, list[str]]], index: FilmIndex) -> str:
    """Return a Scenarist file of lines, each at its seconds on the source's clock; the film's first frame is at 0."""
    if not lines:
        return ""
    start = int(unpack(index.pts)[0]) * Fraction(*index.time_base)
    text = [
        f"{TimeCode.of_number(max(0, round((seconds - start) * SCC_RATE)), 30, drop=True)}\t{' '.join(pairs)}\n"
        for seconds, pairs in lines
    ]
    return "Scenarist_SCC V1.0\n\n" + "\n".join(text)
