"""Messages inside coded pictures: captions, active format, HDR metadata, packed views, found without decoding.

Syntax: ITU-T H.264 D.1, ITU-T H.265 D.2, ITU-T H.262 6.2.2.2.2, ATSC A/53 part 4 6.2.3, AV1 5.8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from media.bitstream import nal_units, unescape
from media.sequence_headers import obus

CAPTIONS = "captions (CEA-608/708)"
MESSAGES = {
    45: "how two views are packed into one picture",
    137: "HDR metadata (mastering display)",
    144: "HDR metadata (content light level)",
    147: "HDR metadata (another transfer function)",
    148: "HDR metadata (viewing environment)",
}
"""Supplemental messages that change how pictures are meant, by payload type."""
CAPTIONED = frozenset(("h264", "hevc", "mpeg1video", "mpeg2video", "av1", "libdav1d"))
"""Codecs in whose packets captions are found."""
REGISTERED = 4
TIMING = {"h264": 1, "hevc": 136}
"""Payload types of the messages that may hold time code: picture timing, time code."""
RPU = b"\x7c\1\x19\x08"
"""First bytes of a NAL unit with Dolby Vision's metadata for a picture (ETSI GS CCM 001 5.1)."""
LOOKED_AT = 16
"""Packets at the start in which Dolby Vision's metadata are looked for."""


@dataclass
class PictureMessages:
    """Collects in which packets of a film there are messages. Call `see` for each packet in decode order."""

    codec: str
    length_size: int = 0
    found: dict[str, list[int]] = field(default_factory=dict)
    """Packet ids by message."""
    dolby_vision: bool = False
    transfer: int = 0
    """The transfer function that an alternative transfer message asks for."""
    timing: bytes = b""
    """The payload of the first message of the last packet that may hold time code (`TIMING`)."""

    def see(self, number: int, head: bytes) -> None:
        """Read the messages in the head of packet `number`."""
        if self.codec == "hevc" and number < LOOKED_AT and RPU in head:
            self.dolby_vision = True
        self.timing = b""
        for kind, payload in payloads(self.codec, head, self.length_size):
            if kind == TIMING.get(self.codec) and not self.timing:
                self.timing = payload
            name = MESSAGES.get(kind) or (registered(payload) if kind == REGISTERED else "")
            if kind == 147 and payload:
                self.transfer = payload[0]
            if name:
                ids = self.found.setdefault(name, [])
                if not ids or ids[-1] != number:
                    ids.append(number)


def payloads(codec: str, data: bytes, length_size: int) -> Iterator[tuple[int, bytes]]:
    """Yield (payload type, payload) of the messages in a packet, as supplemental messages number them."""
    if codec in ("h264", "hevc"):
        hevc = codec == "hevc"
        for nal in nal_units(data, length_size):
            kind = 0 if not nal else nal[0] >> 1 & 63 if hevc else nal[0] & 31
            if kind in (39, 40) if hevc else kind == 6:
                yield from _supplemental(unescape(nal[2 if hevc else 1 :]))
            elif not length_size and ((hevc and kind < 32) or (not hevc and kind in (1, 5))):
                return
    elif codec in ("mpeg1video", "mpeg2video"):
        at = data.find(b"\0\0\1\xb2")
        while at >= 0:
            end = data.find(b"\0\0\1", at + 4)
            yield REGISTERED, b"\xb5\0\x31" + data[at + 4 : end if end >= 0 else len(data)]
            at = data.find(b"\0\0\1\xb2", at + 4)
    elif codec in ("av1", "libdav1d"):
        for kind, start, stop in obus(data):
            body = data[start:stop]
            skip = 1 + bool(body[:1] and body[0] & 4) + 1
            while kind == 5 and skip < len(body) and body[skip - 1] & 128:
                skip += 1
            if kind == 5 and body[skip : skip + 1] == b"\4":
                yield REGISTERED, body[skip + 1 :]


def _supplemental(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 2 <= len(data):
        values = []
        for _ in range(2):
            value = 0
            while at < len(data) and data[at] == 255:
                value, at = value + 255, at + 1
            if at >= len(data):
                return
            values.append(value + data[at])
            at += 1
        yield values[0], data[at : at + values[1]]
        at += values[1]


def registered(payload: bytes) -> str:
    """Name a message that is registered with ITU-T T.35, "" for an unknown one."""
    if payload[:1] == b"\xb5":
        provider, rest = payload[1:3], payload[3:]
        if provider in (b"\0\x31", b"\0\x2f"):
            if rest[:5] == b"GA94\3" or rest[:2] == b"CC":
                return CAPTIONS
            if rest[:4] == b"DTG1":
                return "the active format description"
        if provider == b"\0\x3c":
            return "HDR metadata (HDR10+)"
    if payload[:3] == b"\x26\0\4":
        return "HDR metadata (HDR Vivid)"
    return ""


def caption_triplets(payload: bytes) -> bytes:
    """Return the cc_data triplets (ATSC A/53 part 4 6.2.3.1) of a registered message, b"" when it holds none."""
    if payload[:1] != b"\xb5" or payload[3:8] != b"GA94\3" or len(payload) < 10 or not payload[8] & 0x40:
        return b""
    return payload[10 : 10 + 3 * (payload[8] & 31)]
