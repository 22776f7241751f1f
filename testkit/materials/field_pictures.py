"""H.264 field pictures, written bit by bit, because no encoder here makes them: I_PCM macroblocks, no prediction.

Syntax: ITU-T H.264 (08/2021) 7.3.2.1.1 (SPS), 7.3.2.2 (PPS), 7.3.3 (slice header), 7.3.5 (macroblock layer).
"""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np

from testkit.materials.draw import frame

WIDTH, HEIGHT, FRAMES = 64, 64, 16


class Writer:
    """A writer of H.264 syntax elements into a list of bits."""

    def __init__(self) -> None:
        self.bits: list[int] = []

    def u(self, count: int, value: int) -> None:
        """Append an unsigned integer of `count` bits."""
        self.bits += [value >> i & 1 for i in range(count - 1, -1, -1)]

    def ue(self, value: int) -> None:
        """Append an unsigned Exp-Golomb code (ITU-T H.264 9.1)."""
        size = (value + 1).bit_length()
        self.u(size - 1, 0)
        self.u(size, value + 1)

    def se(self, value: int) -> None:
        """Append a signed Exp-Golomb code (ITU-T H.264 9.1.1)."""
        self.ue(2 * value - 1 if value > 0 else -2 * value)

    def align(self, with_bit: int) -> None:
        """Append `with_bit` until the next byte boundary."""
        while len(self.bits) % 8:
            self.bits.append(with_bit)

    def end(self) -> bytes:
        """Append the trailing bits and return the bytes."""
        self.bits.append(1)
        self.align(0)
        return np.packbits(np.array(self.bits, dtype=np.uint8)).tobytes()


def escaped(payload: bytes) -> bytes:
    """Add emulation prevention bytes (ITU-T H.264 7.4.1), written anew so that the product's own are checked against them."""
    safe, zeros = bytearray(), 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            safe.append(3)
            zeros = 0
        safe.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(safe)


def nal(kind: int, payload: bytes) -> bytes:
    """Return a NAL unit of header byte `kind`, with its start code and emulation prevention bytes."""
    return b"\0\0\0\1" + bytes([kind]) + escaped(payload)


def headers() -> bytes:
    """Return the SPS and the PPS."""
    sps = Writer()
    sps.u(8, 77)  # Main profile
    sps.u(8, 0)
    sps.u(8, 30)
    sps.ue(0)
    sps.ue(0)  # log2_max_frame_num - 4
    sps.ue(0)  # pic_order_cnt_type
    sps.ue(4)  # log2_max_pic_order_cnt_lsb - 4
    sps.ue(1)  # max_num_ref_frames
    sps.u(1, 0)
    sps.ue(WIDTH // 16 - 1)
    sps.ue(HEIGHT // 32 - 1)
    sps.u(1, 0)  # frame_mbs_only_flag
    sps.u(1, 0)  # mb_adaptive_frame_field_flag
    sps.u(1, 1)  # direct_8x8_inference_flag
    sps.u(1, 0)
    sps.u(1, 0)
    pps = Writer()
    pps.ue(0)
    pps.ue(0)
    pps.u(1, 0)
    pps.u(1, 0)
    pps.ue(0)
    pps.ue(0)
    pps.ue(0)
    pps.u(1, 0)
    pps.u(2, 0)
    pps.se(0)
    pps.se(0)
    pps.se(0)
    pps.u(1, 0)
    pps.u(1, 0)
    pps.u(1, 0)
    return nal(0x67, sps.end()) + nal(0x68, pps.end())


def field(planes: list[np.ndarray], n: int, bottom: bool, idr: bool) -> bytes:
    """Write one field as a picture of its own; the second field of an IDR frame is an ordinary I picture."""
    out = Writer()
    out.ue(0)
    out.ue(7)  # slice_type I
    out.ue(0)
    out.u(4, 0 if idr else n % 16)  # frame_num
    out.u(1, 1)  # field_pic_flag
    out.u(1, int(bottom))
    if idr and not bottom:
        out.ue(0)  # idr_pic_id
    out.u(8, (2 * n + int(bottom)) % 256)
    if idr and not bottom:
        out.u(1, 0)
        out.u(1, 0)
    else:
        out.u(1, 0)  # adaptive_ref_pic_marking_mode_flag
    out.se(0)  # slice_qp_delta
    for my in range(HEIGHT // 32):
        for mx in range(WIDTH // 16):
            out.ue(25)  # I_PCM
            out.align(0)
            for plane, size in zip(planes, (16, 8, 8), strict=True):
                block = plane[int(bottom) :: 2][my * size : (my + 1) * size, mx * size : (mx + 1) * size]
                out.bits += np.unpackbits(np.ascontiguousarray(block).reshape(-1)).tolist()
    return nal(0x65 if idr and not bottom else 0x61, out.end())


def make(form: str = "mpegts") -> bytes:
    """Make a film of field pictures at 25 frames a second; every eighth frame is an IDR."""
    stream = b""
    gop = 8
    for i in range(FRAMES):
        pixels = frame(WIDTH, HEIGHT, i, "yuv420p", interlaced="tff").to_ndarray()
        planes = [
            pixels[:HEIGHT],
            pixels[HEIGHT : HEIGHT * 5 // 4].reshape(HEIGHT // 2, WIDTH // 2),
            pixels[HEIGHT * 5 // 4 :].reshape(HEIGHT // 2, WIDTH // 2),
        ]
        n = i % gop
        if n == 0:
            stream += headers()
        stream += b"".join(field(planes, n, bottom, n == 0) for bottom in (False, True))
    if form == "h264":
        return stream
    sink = io.BytesIO()
    with av.open(io.BytesIO(stream), "r", format="h264") as source, av.open(sink, "w", format=form) as container:
        target = container.add_stream_from_template(source.streams.video[0], opaque=True)
        for i, packet in enumerate(p for p in source.demux() if p.size):
            packet.stream = target
            packet.pts = packet.dts = i
            packet.time_base = Fraction(1, 50)
            container.mux(packet)
    return sink.getvalue()
