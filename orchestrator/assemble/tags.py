"""Tags of a source that belong into its result, and those that did not arrive."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from av.stream import Disposition

from contract.severity import Loss
from media.codecs import SUFFIXES
from media.opening import open_media
from media.piece import window_of
from media.time_code import RATES, TimeCode
from orchestrator.assemble.stream_properties import Marks, lost_marks, marks_of
from orchestrator.assemble.verify import film_number

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import InputContainer
    from av.video.stream import VideoStream

    from contract.film import FilmIndex

_TIME_CODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;])(\d\d)", re.ASCII)
OWN = frozenset(
    (
        "major_brand",
        "minor_version",
        "compatible_brands",
        "encoder",
        "duration",
        "creation_time",
        "handler_name",
        "vendor_id",
    )
)
"""Tags by which a container describes itself: the new one writes its own, so they are not lost."""
ABOUT_ENCODING = ("bps", "number_of_frames", "number_of_bytes", "_statistics", "vendor_id", "encoder", "duration")
"""Prefixes of tags that describe how the source was encoded."""
MP4_TAGS = frozenset(
    [
        "title",
        "artist",
        "album_artist",
        "composer",
        "album",
        "date",
        "comment",
        "genre",
        "copyright",
        "grouping",
        "lyrics",
        "description",
        "synopsis",
        "show",
        "episode_id",
        "network",
        "keywords",
        "track",
        "disc",
        "creation_time",
        "hd_video",
        "gapless_playback",
        "compilation",
        "media_type",
        "location",
        "make",
        "model",
        "timecode",
    ]
)
"""Tags that mp4 has a place of its own for (libavformat/movenc.c); with any other, all are written as free keys."""


def carried_tags(tags: Mapping[str, str], film: bool, index: FilmIndex) -> dict[str, str]:
    """Return the `tags` of a stream or container to carry over; `film` marks the stream that is encoded anew.

    Those of a piece count from its beginning: time code runs on, and numbers of packets and bytes are the whole film's.
    """
    found = {}
    film = film or index.piece is not None
    for key, value in tags.items():
        word = key.lower()
        if word in ("major_brand", "minor_version", "compatible_brands", "encoder"):
            continue
        if film and word.startswith(ABOUT_ENCODING):
            continue
        if word == "timecode":
            value = time_code_at(value, index)
        if value:
            found[key] = value
    return found


def time_code_at(value: str, index: FilmIndex) -> str:
    """Return the time code `value` of a source's first frame as that of a piece's; "" where its rate is not known."""
    if index.piece is None or not index.piece.first:
        return value
    for mark in index.time_marks:  # a track that breaks before the piece does not count on from its first code
        if mark.first == 0 and mark.kind == "time_code" and mark.of.startswith("stream "):
            return mark.value
    found = _TIME_CODE.fullmatch(value)
    rate = min(RATES, key=lambda rate: abs(rate - index.rate))
    if found is None or abs(rate - index.rate) > Fraction(rate, 500):
        return ""
    drop = found[4] == ";"
    code = TimeCode(int(found[1]), int(found[2]), int(found[3]), int(found[5]), drop)
    return str(TimeCode.of_number(code.number(rate) + index.piece.first, rate, drop))


@dataclass(frozen=True)
class Wanted:
    """Tags and properties that a result should have: its own tags, tags and dispositions of each stream, properties."""

    tags: dict[str, str]
    streams: list[tuple[int, dict[str, str], int]]
    marks: Marks


def wanted_tags(source: InputContainer, index: FilmIndex) -> Wanted:
    """Collect the source's tags and properties that its result should have; time code that cannot run on in a piece is lost."""

    def wanted(tags: Mapping[str, str], film: bool) -> dict[str, str]:
        stopped = {key: value for key, value in tags.items() if key.lower() == "timecode"}
        return stopped | carried_tags(tags, film, index)

    streams = []
    for known in index.streams:
        if (known.copied or known.index == index.stream) and known.kind not in ("attachment", "cover"):
            stream = source.streams[known.index]
            tags = wanted(stream.metadata, known.index == index.stream)
            streams.append((known.index, tags, int(stream.disposition)))
    film: VideoStream = source.streams[index.stream]  # type: ignore[assignment]
    marks = marks_of(source, film, [number for number, _, _ in streams], window_of(index))
    return Wanted(wanted(source.metadata, False), streams, marks)


def lost_tags(wanted: Wanted, out: Path, index: FilmIndex) -> list[str]:
    """Return one note on everything that `out` lost: tags, languages, dispositions, properties."""
    with out.open("rb") as file, open_media(file, "the result") as result:
        lost = _missing(wanted.tags, result.metadata, "the film")
        found = [
            s for s in result.streams if s.type != "attachment" and not int(s.disposition) & Disposition.attached_pic
        ]
        for (number, tags, marks), target in zip(wanted.streams, found, strict=False):
            lost += _missing(tags, target.metadata, f"stream {number}")
            gone = Disposition(marks & ~int(target.disposition) & ~Disposition.default)
            if gone:
                lost.append(f"marks of stream {number} ({gone.name})")
        film: VideoStream = result.streams[film_number(result, index)]  # type: ignore[assignment]
        lost += lost_marks(wanted.marks, marks_of(result, film, [s.index for s in found]), film, index)
    return [Loss(f"{SUFFIXES[index.container]} does not keep: {', '.join(lost)}")] if lost else []


def _missing(before: Mapping[str, str], after: Mapping[str, str], what: str) -> list[str]:
    have = {k.lower(): v for k, v in after.items()}
    if what != "the film":  # a track's title is its name in mp4 and mov
        have |= {k: have[twin] for k, twin in (("title", "name"), ("name", "title")) if twin in have and k not in have}
    return [
        f"{key}={value[:60]!r} of {what}"
        for key, value in before.items()
        if key.lower() not in OWN
        and have.get(key.lower()) != value
        and not (key.lower() == "language" and value == "und")
    ]
