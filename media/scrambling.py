"""Encryption that containers mark: nothing in such films can be decoded, and nothing is damaged.

Sources: ISO/IEC 13818-1 2.4.3.3 (transport_scrambling_control) and 2.4.3.7 (PES_scrambling_control).
"""

from __future__ import annotations

from collections import Counter
from typing import BinaryIO

LOOKED_AT = 8 << 20
"""Bytes at the start that are read."""
MOSTLY = 0.5
"""Share of packets that must be marked: a stray bit in a damaged file is no encryption."""
TS_PACKETS = (188, 192, 204)


def scrambled(source: BinaryIO, form: str) -> bool:
    """Report whether most packets of the picture's bytes are marked as scrambled. `form` is FFmpeg's demuxer."""
    if form not in ("mpegts", "mpeg"):
        return False
    source.seek(0)
    data = source.read(LOOKED_AT)
    return _transport(data) if form == "mpegts" else _program(data)


def _transport(data: bytes) -> bool:
    """Look at the stream of packets that has most of them."""
    for size in TS_PACKETS:
        start = next((at for at in range(size) if data[at : at + 5 * size : size] == b"\x47" * 5), -1)
        if start < 0:
            continue
        packets: Counter[int] = Counter()
        marked: Counter[int] = Counter()
        for at in range(start, len(data) - 4, size):
            number = int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF
            if data[at] == 0x47 and number != 0x1FFF and data[at + 3] & 0x10:
                packets[number] += 1
                marked[number] += bool(data[at + 3] & 0xC0)
        most = packets.most_common(1)
        return bool(most) and marked[most[0][0]] > MOSTLY * most[0][1]
    return False


def _program(data: bytes) -> bool:
    total = marked = 0
    at = data.find(b"\0\0\1\xe0")
    while 0 <= at < len(data) - 7:
        total += data[at + 6] >> 6 == 2
        marked += data[at + 6] >> 6 == 2 and bool(data[at + 6] & 0x30)
        at = data.find(b"\0\0\1\xe0", at + 4)
    return total > 0 and marked > MOSTLY * total
