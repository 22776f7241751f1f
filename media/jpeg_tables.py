"""Tables of Motion JPEG, as they stand at any packet of a stream (ITU-T T.81 B.2.4)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class JpegTables:
    """Quantisation and Huffman tables and the restart interval of JPEG, by marker and table."""

    _active: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def extradata(self, data: bytes) -> None:
        """Follow headers that come beside the packets."""
        del data  # Motion JPEG's extradata names variants, it holds no tables

    def see(self, data: bytes) -> None:
        """Follow the headers inside a packet."""
        self._active.update(jpeg_tables(data))

    def opened(self, data: bytes) -> bytes:
        """Return `data` behind the headers that a decoder which starts here lacks."""
        own = jpeg_tables(data)
        missing = [segment for key, segment in self._active.items() if key not in own]
        return data if not missing or data[:2] != b"\xff\xd8" else data[:2] + b"".join(missing) + data[2:]


def jpeg_tables(data: bytes) -> dict[tuple[int, int], bytes]:
    """Return segments that define one table each, by marker and the table's number, before an image's first scan."""
    found: dict[tuple[int, int], bytes] = {}
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + size]
        at += 2 + size
        if marker == 0xDD:
            found[marker, 0] = _segment(marker, body)
        while marker in (0xDB, 0xC4) and body:
            length = 65 + 64 * (body[0] >> 4) if marker == 0xDB else 17 + sum(body[1:17])
            found[marker, body[0] & (15 if marker == 0xDB else 255)] = _segment(marker, body[:length])
            body = body[length:]
    return found


def _segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + bytes(body)
