"""The pixel aspect ratio in a finished Matroska file.

FFmpeg's Matroska muxer takes the aspect ratio from a field that PyAV does not set. The display size is therefore written
into the finished file: the Tracks element grows by a few bytes, and the Void that the muxer leaves before it shrinks by
as many, so that nothing behind it moves. Element ids are those of RFC 9559.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from contract.errors import VerifyError

SEGMENT, SEEK_HEAD, SEEK, SEEK_ID, SEEK_POSITION = 0x18538067, 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
VOID, CRC, INFO, TRACKS, TRACK, VIDEO = 0xEC, 0xBF, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0
CLUSTER = 0x1F43B675
DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2
PIXEL_WIDTH, PIXEL_HEIGHT = 0xB0, 0xBA
SHAPE_ONLY = 3
"""The display unit that makes the display size an aspect ratio (RFC 9559 5.1.4.1.28.14)."""
HEAD = 64 << 20
"""Bytes from a file's start within which its Tracks must lie (after them come attachments, which may be large)."""


@dataclass
class Element:
    """One EBML element: its id begins at `at`, its content at `body`."""

    id: int
    at: int
    body: int
    end: int


def _number(data: bytes, at: int, keep_marker: bool) -> tuple[int, int]:
    """Read an EBML variable-size integer; return (value, position after it)."""
    first = data[at]
    size = 9 - first.bit_length()
    value = int.from_bytes(data[at : at + size], "big")
    return (value if keep_marker else value & (1 << 7 * size) - 1), at + size


def _size(value: int, width: int) -> bytes:
    return (value | 1 << 7 * width).to_bytes(width, "big")


def _elements(data: bytes, start: int, end: int) -> list[Element]:
    found = []
    at = start
    while at < end:
        kind, body = _number(data, at, keep_marker=True)
        size, body = _number(data, body, keep_marker=False)
        found.append(Element(kind, at, body, body + size))
        if kind == CLUSTER:
            break
        at = body + size
    return found


def _element(kind: int, content: bytes, width: int = 0) -> bytes:
    """Encode an element; `width` is that of its size field, by default the shortest."""
    width = width or next(w for w in range(1, 9) if len(content) < (1 << 7 * w) - 1)
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + _size(len(content), width) + content


def set_sample_aspect(path: Path, sar: tuple[int, int]) -> None:
    """Give the first video track of the Matroska file at `path` the pixel aspect ratio `sar`.

    Raises VerifyError when the file is not laid out as FFmpeg does it.
    """
    with path.open("r+b") as file:
        head = file.read(HEAD)
        layout = VerifyError("the Matroska header is not laid out as expected, so the pixels' shape cannot be written.")
        _, after = _number(head, 0, keep_marker=True)
        size, after = _number(head, after, keep_marker=False)
        segment = _elements(head, after + size, after + size + 1)[0]
        parts = _elements(head, segment.body, len(head))
        by_id = {p.id: p for p in parts}
        if any(k not in by_id for k in (SEEK_HEAD, VOID, INFO, TRACKS)) or not (
            by_id[SEEK_HEAD].end == by_id[VOID].at
            and by_id[VOID].end == by_id[INFO].at
            and by_id[INFO].end == by_id[TRACKS].at
        ):
            raise layout
        void, info, tracks = by_id[VOID], by_id[INFO], by_id[TRACKS]
        new_tracks = _element(TRACKS, _with_crc(_with_aspect(head[tracks.body : tracks.end], sar)), width=8)
        grown = len(new_tracks) - (tracks.end - tracks.at)
        room = void.end - void.at - grown
        if room < 9:
            raise layout
        seek = _moved(head[by_id[SEEK_HEAD].body : by_id[SEEK_HEAD].end], grown)
        width = (
            8 if by_id[SEEK_HEAD].body - by_id[SEEK_HEAD].at == 12 else by_id[SEEK_HEAD].body - by_id[SEEK_HEAD].at - 4
        )
        rewritten = (
            _element(SEEK_HEAD, seek, width=width)
            + _element(VOID, bytes(room - 9), width=8)
            + head[info.at : info.end]
            + new_tracks
        )
        if len(rewritten) != tracks.end - by_id[SEEK_HEAD].at:
            raise layout
        file.seek(by_id[SEEK_HEAD].at)
        file.write(rewritten)


def _with_crc(content: bytes) -> bytes:
    """Renew the CRC-32 element in a master's content, if it has one (RFC 8794 11.3.1)."""
    first = _elements(content, 0, 1)[0]
    if first.id != CRC:
        return content
    rest = content[first.end :]
    return _element(CRC, zlib.crc32(rest).to_bytes(4, "little")) + rest


def _with_aspect(tracks: bytes, sar: tuple[int, int]) -> bytes:
    """Return the content of Tracks with a display size in its first video track."""
    out = b""
    done = False
    for part in _elements(tracks, 0, len(tracks)):
        raw = tracks[part.at : part.end]
        if part.id == TRACK and not done:
            inner = _elements(tracks, part.body, part.end)
            if any(e.id == VIDEO for e in inner):
                raw = _element(
                    TRACK,
                    b"".join(_with_display(tracks, e, sar) if e.id == VIDEO else tracks[e.at : e.end] for e in inner),
                    width=_width(tracks, part),
                )
                done = True
        out += raw
    return out


def _width(data: bytes, element: Element) -> int:
    """Return the bytes for the size field of `element`; one more than now if a short one could overflow."""
    _, after = _number(data, element.at, keep_marker=True)
    width = element.body - after
    return width + (width < 8 and element.end - element.body + 16 >= (1 << 7 * width) - 1)


def _with_display(data: bytes, video: Element, sar: tuple[int, int]) -> bytes:
    inner = _elements(data, video.body, video.end)
    values = {e.id: int.from_bytes(data[e.body : e.end], "big") for e in inner}
    width, height, unit = display_size(values[PIXEL_WIDTH], values[PIXEL_HEIGHT], sar)
    kept = b"".join(data[e.at : e.end] for e in inner if e.id not in (DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT))
    display = _element(DISPLAY_WIDTH, width.to_bytes(3, "big")) + _element(DISPLAY_HEIGHT, height.to_bytes(3, "big"))
    if unit:
        display += _element(DISPLAY_UNIT, bytes([unit]))
    return _element(VIDEO, kept + display, width=_width(data, video))


def display_size(width: int, height: int, sar: tuple[int, int]) -> tuple[int, int, int]:
    """Return (width, height, unit) of the smallest display size that has exactly the picture's shape and loses no detail.

    Where that is over four times too large, return the shape alone (unit 3), rounded where even that does not fit.
    """
    shape = Fraction(width * sar[0], height * sar[1])
    times = max(-(-width // shape.numerator), -(-height // shape.denominator))
    exact = shape.numerator * times, shape.denominator * times
    if exact[0] <= 4 * max(width, height) and exact[1] <= 4 * max(width, height):
        return *exact, 0
    if max(shape.numerator, shape.denominator) < 1 << 24:
        return shape.numerator, shape.denominator, SHAPE_ONLY
    if shape >= Fraction(width, height):
        return round(height * shape), height, 0
    return width, round(width / shape), 0


def _moved(seek: bytes, grown: int) -> bytes:
    """Return the content of SeekHead after Info and Tracks have moved forward by `grown` bytes."""
    out = b""
    for entry in _elements(seek, 0, len(seek)):
        if entry.id != SEEK:
            continue
        inner = {e.id: e for e in _elements(seek, entry.body, entry.end)}
        name, place = inner[SEEK_ID], inner[SEEK_POSITION]
        position = int.from_bytes(seek[place.body : place.end], "big")
        if int.from_bytes(seek[name.body : name.end], "big") in (INFO, TRACKS):
            position -= grown
        out += _element(
            SEEK,
            seek[name.at : name.end] + _element(SEEK_POSITION, position.to_bytes(place.end - place.body, "big")),
            width=entry.body - entry.at - 2,
        )
    first = _elements(seek, 0, 1)[0]
    return _element(CRC, zlib.crc32(out).to_bytes(4, "little")) + out if first.id == CRC else out
