"""Choice of the film among a source's video streams, and of the streams that belong to other programs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from av.video.stream import VideoStream

from contract.errors import BadInput, Unsupported, UsageError
from media.demuxing import header_dump

if TYPE_CHECKING:
    from av.container import InputContainer

    from contract.job import Spec
    from orchestrator.result_record import FilmWanted

COVER = 1 << 10
"""FFmpeg's AV_DISPOSITION_ATTACHED_PIC."""


@dataclass(frozen=True)
class FilmChoice:
    """The film's stream, notes about others, and the reasons for leaving out streams of other programs."""

    stream: VideoStream
    notes: list[str] = field(default_factory=list)
    elsewhere: dict[int, str] = field(default_factory=dict)


def choose_film(container: InputContainer, spec: Spec | FilmWanted | None, what: str) -> FilmChoice:
    """Choose the stream or program that `spec` names, else the largest picture; of equal ones the first.

    Raises BadInput without any video, UsageError for a stream or program that is not there, Unsupported when no decoder
    knows the stream.
    """
    pictures = pictures_of(container)
    if not pictures:
        raise BadInput(f"{what} has no video stream; submit sound and pictures for what they are.")
    programs = programs_of(container) if len(container.streams) > 1 else {}
    film = _wanted(pictures, programs, spec, what)
    if film.codec_context is None:
        raise Unsupported(f"{what} is in a video codec that no decoder here knows; convert it first.")
    notes = []
    if len(pictures) > 1:
        listed = ", ".join(_named(s, programs) for s in pictures)
        way = "--video-stream N" + (" or --program N" if len(set(programs.values())) > 1 else "")
        notes.append(
            f"{what} has {len(pictures)} video streams ({listed}); stream {film.index} is restored, choose with {way}"
        )
    own = programs.get(film.index)
    elsewhere = {
        number: f"it belongs to program {program}, not to {own}"
        for number, program in programs.items()
        if own is not None and program != own
    }
    return FilmChoice(film, notes, elsewhere)


def pictures_of(container: InputContainer) -> list[VideoStream]:
    """List a file's video streams that are no covers."""
    return [s for s in container.streams if isinstance(s, VideoStream) and not s.disposition & COVER]


def stream_of(container: InputContainer, number: int) -> VideoStream:
    """Return the video stream `number` of a source that was looked at before."""
    stream = container.streams[number]
    assert isinstance(stream, VideoStream)
    return stream


def _wanted(
    pictures: list[VideoStream], programs: dict[int, int], spec: Spec | FilmWanted | None, what: str
) -> VideoStream:
    if spec is not None and spec.video_stream is not None:
        named = next((s for s in pictures if s.index == spec.video_stream), None)
        if named is None:
            able = ", ".join(str(s.index) for s in pictures)
            raise UsageError(f"{what} has no video stream {spec.video_stream}; --video-stream takes {able} here.")
        return named
    if spec is not None and spec.program is not None:
        pictures = [s for s in pictures if programs.get(s.index) == spec.program]
        if not pictures:
            able = ", ".join(map(str, sorted(set(programs.values())))) or "none, the file has no programs"
            raise UsageError(f"{what} has no program {spec.program} with a picture; --program takes {able}.")
    return max(pictures, key=lambda s: (_area(s), -s.index))


def _area(stream: VideoStream) -> int:
    context = stream.codec_context
    return int(context.width * context.height) if context is not None else 0


def _named(stream: VideoStream, programs: dict[int, int]) -> str:
    context = stream.codec_context
    size = f" {context.width}x{context.height}" if context is not None else ""
    program = f" in program {programs[stream.index]}" if stream.index in programs else ""
    return f"{stream.index}:{size}{program}"


def programs_of(container: InputContainer) -> dict[int, int]:
    """Return the program of each stream that belongs to one."""
    found: dict[int, int] = {}
    program: int | None = None
    for line in header_dump(container).splitlines():
        begins = re.match(r"  Program (\d+)", line)
        if begins or line.startswith("  No Program"):
            program = int(begins.group(1)) if begins else None
        stream = re.match(r"\s+Stream #0:(\d+)", line)
        if stream and program is not None:
            found.setdefault(int(stream.group(1)), program)
    return found
