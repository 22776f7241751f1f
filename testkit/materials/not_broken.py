"""Materials that look broken, or ambiguous, and are not: encryption, sectors of discs, several programs, huge results."""

from __future__ import annotations

import io
from dataclasses import replace

import av

from testkit.materials.recipe import H264, STEREO, Material
from testkit.materials.write import Film, Sound, write

SMALL = replace(H264, format="mpegts", sounds=(Sound("mp2"),))
LARGE = replace(SMALL, size=(160, 112), seed=2)
CENC = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "0123456789abcdef0123456789abcdef",
    "encryption_kid": "fedcba9876543210fedcba9876543210",
}


def video_cd() -> bytes:
    """Make a .dat file of a Video CD: a RIFF header, then sectors of mode 2, form 2."""
    options = {"g": "15", "bf": "2", "b": "1150k", "maxrate": "1150k", "bufsize": "320k"}
    film = Film("vcd", "mpeg1video", options, size=(352, 288), sounds=(Sound("mp2", rate=44100),))
    stream = write(film)
    sectors = b""
    for number, at in enumerate(range(0, len(stream), 2324)):
        minute, rest = divmod(number + 150, 75 * 60)
        address = bytes(int(f"{v:02d}", 16) for v in (minute, rest // 75, rest % 75)) + b"\2"
        head = b"\0" + b"\xff" * 10 + b"\0" + address + b"\1\1\x62\x0f" * 2
        sectors += head + stream[at : at + 2324].ljust(2324, b"\0") + bytes(4)
    form = b"CDXAfmt \x10\0\0\0" + bytes(16) + b"data" + len(sectors).to_bytes(4, "little")
    return b"RIFF" + (len(sectors) + 36).to_bytes(4, "little") + form + sectors


def scrambled() -> bytes:
    """Make a transport stream whose packets are marked as scrambled from the third on, as recorders of pay TV write it."""
    data = bytearray(write(SMALL))
    for at in range(188 * 60, len(data), 188):
        number = int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF
        if number >= 0x100 and data[at + 3] & 0x10:
            data[at + 3] |= 0x80
            start = at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0)
            data[start : at + 188] = bytes(b ^ 0x5A for b in data[start : at + 188])
    return bytes(data)


def crc(data: bytes) -> bytes:
    """Return the CRC-32 of an MPEG section (ISO/IEC 13818-1 annex A)."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 1 << 31 else 0)) & 0xFFFFFFFF
    return value.to_bytes(4, "big")


def two_programs() -> bytes:
    """Make a transport stream of a small and a large programme."""
    parts = []
    for number, film in ((1, SMALL), (2, LARGE)):
        pids = {"mpegts_start_pid": hex(0x100 * number), "mpegts_pmt_start_pid": hex(0x1000 + 16 * number)}
        muxer = {"mpegts_service_id": str(number), **pids}
        parts.append(write(replace(film, muxer=muxer)))
    table = (
        b"\0\xb0\x11\0\1\xc1\0\0"
        b"\0\1" + (0xE000 | 0x1010).to_bytes(2, "big") + b"\0\2" + (0xE000 | 0x1020).to_bytes(2, "big")
    )
    section = b"\0" + table + crc(table)
    packets = [[data[at : at + 188] for at in range(0, len(data), 188)] for data in parts]
    kept, counter = [], 0
    for i in range(max(map(len, packets))):
        for number, part in enumerate(packets):
            if i >= len(part):
                continue
            packet = part[i]
            pid = int.from_bytes(packet[1:3], "big") & 0x1FFF
            if pid == 0 and number == 0:
                kept.append(b"\x47\x40\0" + bytes((0x10 | counter % 16,)) + section.ljust(184, b"\xff"))
                counter += 1
            elif pid > 0x1F:
                kept.append(packet)
    return b"".join(kept)


def two_angles() -> bytes:
    """Two pictures of one scene in one Matroska file, the first a small one."""
    sink = io.BytesIO()
    sources = [
        av.open(io.BytesIO(write(replace(H264, size=size, sounds=STEREO))), "r") for size in ((96, 64), (160, 112))
    ]
    with av.open(sink, "w", format="matroska") as container:
        streams = [container.add_stream_from_template(s.streams.video[0], opaque=True) for s in sources]
        packets = [(p, streams[n]) for n, s in enumerate(sources) for p in s.demux(s.streams.video[0]) if p.size]
        for packet, stream in sorted(packets, key=lambda pair: float((pair[0].dts or 0) * pair[0].time_base)):
            packet.stream = stream
            container.mux(packet)
    return sink.getvalue()


NOT_BROKEN: tuple[Material, ...] = (
    Material("video-cd-sectors", "dat", video_cd, says="raw sectors of a Video CD"),
    Material(
        "encrypted-mp4",
        "mp4",
        lambda: write(replace(H264, muxer=CENC, sounds=STEREO)),
        expect="refused",
        says="encrypted",
    ),
    Material("encrypted-ts", "ts", scrambled, expect="refused", says="encrypted"),
    Material(
        "two-programs", "ts", two_programs, says="stream 2 is restored, choose with --video-stream N or --program N"
    ),
    Material("two-angles", "mkv", two_angles, says="stream 1 is restored, choose with --video-stream N"),
)
