"""Properties of a film beside its tags (shape, fields, crop, channels, chapters), and those that a result lost."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from av.audio.stream import AudioStream

from contract.film import FilmIndex
from media.codecs import BOTTOM_SHOWN_FIRST, PROGRESSIVE
from media.demuxing import film_description, header_dump
from media.piece import Window, chapters_of

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

ABOUT_ENCODING = frozenset(("CPB properties", "QP"))
"""Side data that describes how the source was encoded."""
USUAL = ("mono", "stereo", "5.1", "7.1")
"""Channel layouts that players assume for untagged sound."""
SERVICE = ("Service01", "FFmpeg")
"""FFmpeg's default names of a service and its provider."""


@dataclass(frozen=True)
class Marks:
    """Properties of a file: `side` has FFmpeg's names of the film's side data, `layouts` the channels of each stream."""

    side: frozenset[str]
    layouts: list[str | None]
    chapters: int
    service: tuple[str, ...]


def marks_of(container: InputContainer, film: VideoStream, streams: list[int], window: Window | None = None) -> Marks:
    """Read the properties of an open file, or of a piece of it, whose copied `streams` are given in their order."""
    dump = header_dump(container)
    sides = re.search(r"\n    Side data:\n((?:      .*\n?)*)", film_description(container, film))
    names = [line.split(":")[0].strip() for line in sides.group(1).splitlines()] if sides else []
    layouts: list[str | None] = []
    for number in streams:
        stream = container.streams[number]
        layouts.append(stream.codec_context.layout.name if isinstance(stream, AudioStream) else None)
    service = tuple(re.findall(r"^ +service_(?:name|provider) *: (.*)$", dump, re.M))
    return Marks(frozenset(names) - ABOUT_ENCODING, layouts, len(chapters_of(container, window)), service)


def lost_marks(before: Marks, after: Marks, film: VideoStream, index: FilmIndex) -> list[str]:
    """List the properties that the result, whose `film` is given, lost, each as the end of "... does not keep: "."""
    lost = [f"{name.lower()} of the film" for name in sorted(before.side - after.side)]
    shape = Fraction(*index.sar) if index.sar[0] and index.sar[1] else Fraction(1)
    have = film.sample_aspect_ratio or Fraction(1)
    if have != shape:
        lost.append(
            f"the pixels' exact shape ({shape.numerator}:{shape.denominator}; it is {have.numerator}:{have.denominator})"
        )
    fields = _fields(index.encoding.field_order)
    if fields and _fields(film.codec_context.field_order) != fields:
        lost.append(f"that the film is interlaced ({fields})")
    for i, (old, new) in enumerate(zip(before.layouts, after.layouts, strict=False)):
        unnamed = [bool(name and re.fullmatch(r"\d+ channels", name)) for name in (old, new)]
        if old and old != new and not unnamed[0] and not (unnamed[1] and old in USUAL):
            lost.append(f"the channels of copied stream {i} ({old}; they are {new})")
    if after.chapters < before.chapters:
        lost.append(f"{before.chapters - after.chapters} of {before.chapters} chapters, which begin where others do")
    if not set(before.service) <= {*after.service, *SERVICE}:
        lost.append(f"the name of the service ({', '.join(before.service)})")
    return lost


def _fields(order: int) -> str:
    """Return FFmpeg's AVFieldOrder by the field that is shown first; "" for a progressive film."""
    if order <= PROGRESSIVE:
        return ""
    return "bottom field first" if order in BOTTOM_SHOWN_FIRST else "top field first"
