"""Materials that carry captions and time code, seldom or with breaks."""

from __future__ import annotations

from dataclasses import replace

import av

from testkit.materials.field_pictures import escaped
from testkit.materials.joined import box, boxes, inside, patched
from testkit.materials.recipe import H264, Material, x265
from testkit.materials.write import Film, write

PAIRS = b"\x94\x20\x94\xae\xc8\xe5\xec\xec\xef\x80\x94\x2f"
"""A caption in the pairs of CEA-608, parity bits included: load, clear, "Hello", show."""


def cc_data(pairs: bytes) -> bytes:
    """Wrap captions as cc_data of field 1 (ATSC A/53 part 4 6.2.3)."""
    triplets = b"".join(b"\xfc" + pairs[i : i + 2] for i in range(0, len(pairs), 2))
    return b"GA94\3" + bytes((0x40 | len(triplets) // 3, 0xFF)) + triplets + b"\xff"


def message(pairs: bytes, hevc: bool = False) -> bytes:
    """Wrap captions in an SEI message, as a NAL unit with its length in front."""
    payload = b"\xb5\0\x31" + cc_data(pairs)
    body = bytes((4, len(payload))) + payload + b"\x80"
    nal = (b"\x4e\1" if hevc else b"\6") + escaped(body)
    return len(nal).to_bytes(4, "big") + nal


def captioned(base: Film, where: dict[int, bytes]) -> bytes:
    """Make `base` with captions in the packets of `where`."""

    def change(number: int, data: bytes) -> tuple[bytes, dict[str, bytes]]:
        pairs = where.get(number)
        if pairs is None:
            return data, {}
        if base.codec == "mpeg2video":
            at = data.find(b"\0\0\1\1")
            return data[:at] + b"\0\0\1\xb2" + cc_data(pairs) + data[at:], {}
        return message(pairs, base.codec == "libx265") + data, {}

    return patched(write(base), base.format, change)


SELDOM = {10: PAIRS[:4], 11: PAIRS[4:8], 30: PAIRS[8:]}
ALWAYS = {n: PAIRS[2 * (n % 6) : 2 * (n % 6) + 2] for n in range(48)}


def two_time_codes() -> bytes:
    """Make a mov whose time code track has two samples: the time code jumps after one second."""

    def dress(container: av.container.OutputContainer, stream: av.VideoStream) -> None:
        del container
        stream.metadata["timecode"] = "01:00:00:00"

    data = write(replace(H264, format="mov", frames=50, dress=dress))
    numbers = b"".join(n.to_bytes(4, "big") for n in (90000, 900000))
    data += box(b"mdat", numbers)
    at = data.rfind(b"moov") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    moov, rest = data[at + 8 : at + size], data[at + size :]
    offset = at + (size + 8) + 8  # one more entry of stts, then the header of the box that holds the numbers
    tracks = []
    for kind, body in boxes(moov):
        coded = b"tmcd" in body and b"vide" not in body
        tracks.append(box(kind, _two_samples(body, offset) if coded else body))
    return data[:at] + box(b"moov", b"".join(tracks)) + rest


def _two_samples(track: bytes, offset: int) -> bytes:
    """Return the track with one sample for its first half and one for its second."""
    table = inside(track, b"mdia", b"minf", b"stbl")
    new = b""
    for kind, body in boxes(table):
        if kind == b"stts":
            half = int.from_bytes(body[12:16], "big") // 2
            body = body[:4] + b"\0\0\0\2" + (b"\0\0\0\1" + half.to_bytes(4, "big")) * 2
        elif kind == b"stsz":
            body = body[:8] + b"\0\0\0\2"
        elif kind == b"stsc":
            body = body[:12] + b"\0\0\0\2" + body[16:]
        elif kind == b"stco":
            body = body[:8] + offset.to_bytes(4, "big")
        new += box(kind, body)
    return _replaced(track, (b"mdia", b"minf", b"stbl"), new)


def _replaced(data: bytes, path: tuple[bytes, ...], new: bytes) -> bytes:
    if not path:
        return new
    return b"".join(box(k, _replaced(b, path[1:], new) if k == path[0] else b) for k, b in boxes(data))


def dv(code: str, date: str, seed: int) -> bytes:
    """Make half a second of DV with a time code and a recording date."""

    def dress(container: av.container.OutputContainer, stream: av.VideoStream) -> None:
        del stream
        container.metadata.update(timecode=code, creation_time=date)

    return write(Film("dv", "dvvideo", size=(720, 576), frames=12, dress=dress, seed=seed))


def joined_dv() -> bytes:
    """Make one DV file of two recordings of a tape."""
    return dv("00:10:00:00", "1999-05-04T10:00:00Z", 1) + dv("00:20:00:00", "2001-08-09T17:30:00Z", 2)


MPEG2 = Film("mpegts", "mpeg2video", {"g": "12", "bf": "0", "b": "3M"})


MESSAGES: tuple[Material, ...] = (
    Material("captions-seldom-h264", "mp4", lambda: captioned(H264, SELDOM), says=r"captions .*3 frames"),
    Material(
        "captions-always-h264-to-mp4", "mp4", lambda: captioned(H264, ALWAYS), "mp4", says=r"captions .*48 frames"
    ),
    Material(
        "captions-seldom-hevc",
        "mp4",
        lambda: captioned(Film("mp4", "libx265", x265()), SELDOM),
        says=r"captions .*3 frames",
    ),
    Material("captions-seldom-mpeg2", "ts", lambda: captioned(MPEG2, SELDOM), says=r"captions .*3 frames"),
    Material(
        "time-code-in-two-parts", "mov", two_time_codes, says=r"01:00:00:00 from frame 0, 10:00:00:00 from frame 25"
    ),
    Material(
        "dv-joined",
        "dv",
        joined_dv,
        says=r"00:10:00:00 from frame 0, 00:20:00:00 from frame 12",
    ),
)
