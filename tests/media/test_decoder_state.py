"""A decoder that starts at any key packet with `DecoderState.entry` gives the frames of a sequential decode."""

from __future__ import annotations

import io

import av
import pytest

from media.decoder_state import CARRIED, DecoderState, Side
from testkit.materials.check import checksum
from testkit.materials.headers import HEADERS

INTRA_OR_CLOSED = (
    "h264-parameter-sets-once-ts",
    "mpeg4-headers-once",
    "mjpeg-tables-once",
    "palette-once",
    "flv-joined",
)


@pytest.mark.parametrize("name", INTRA_OR_CLOSED)
def test_decoding_starts_at_any_key_packet(name: str) -> None:
    """Headers sent once, or replaced in the middle, are put before the packet with which decoding starts."""
    data = next(m for m in HEADERS if m.name == name).make()
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        extradata = stream.codec_context.extradata or b""
        form = "rgb24" if stream.codec_context.pix_fmt == "pal8" else None
        packets = [p for p in container.demux(stream) if p.size]
        sides: list[Side] = [
            tuple((s.data_type, bytes(s)) for s in p.iter_sidedata() if s.data_type in CARRIED) for p in packets
        ]
    with av.open(io.BytesIO(data)) as container:
        whole = [checksum(f, form) for f in container.decode(container.streams.video[0])]
    state = DecoderState(stream.codec_context.name, extradata)
    started = 0
    for number, packet in enumerate(packets):
        if packet.is_keyframe:
            entry = state.entry(bytes(packet), sides[number])
            with av.open(io.BytesIO(data)) as container:
                context = container.streams.video[0].codec_context
                context.thread_count = 1
                rest = [p for p in container.demux(container.streams.video[0]) if p.size][number:]
                first = av.Packet(len(entry.data))
                first.update(entry.data)
                first.is_keyframe, first.pts, first.dts = True, packet.pts, packet.dts
                for kind, value in entry.side:
                    first.set_sidedata(_side(kind, value), move=True)
                frames = [f for p in (first, *rest[1:], None) for f in context.decode(p)]
            tail = [checksum(f, form) for f in frames]
            assert tail == whole[-len(tail) :]
            assert len(tail) >= len(packets) - number
            started += 1
        state.see(bytes(packet), sides[number])
    assert started > 3


def _side(kind: str, value: bytes) -> av.packet.PacketSideData:
    side = av.packet.PacketSideData(av.packet.packet_sidedata_type_from_literal(kind), len(value))  # type: ignore[arg-type, call-arg]
    side.update(value)
    return side


def test_a_packet_with_its_own_headers_is_left_alone() -> None:
    """Nothing is put before a packet whose decoder lacks nothing."""
    state = DecoderState("mpeg2video", b"\0\0\1\xb3" + bytes(8))
    own = b"\0\0\1\xb3" + bytes(8) + b"\0\0\1\0" + bytes(8)
    state.see(own, ())
    assert state.entry(own, ()).data == own


def test_a_replaced_sequence_set_drops_the_picture_sets_that_refer_to_it() -> None:
    """H.264: a new SPS of the same number but other content removes its PPS, as it does in FFmpeg."""
    first, pps, second = b"\x67\x42\0\x1e\x95\xa0", b"\x68\xce\x3c\x80", b"\x67\x42\0\x1e\x95\xb0"
    state = DecoderState("h264", b"\0\0\0\1" + first + b"\0\0\0\1" + pps)
    state.see(b"\0\0\0\1" + second + b"\0\0\0\1\x65\x88\x84", ())
    entry = state.entry(b"\0\0\0\1\x65\x88\x84", ())
    assert entry.data == b"\0\0\0\1" + second + b"\0\0\0\1\x65\x88\x84"
