"""Which containers can hold what, found out before any work starts."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import av
import av.error
import msgspec

from contract.codecs import CONTAINERS, SUFFIXES
from contract.errors import Unsupported, UsageError
from contract.media import reason

if TYPE_CHECKING:
    from av.codec.context import CodecContext
    from av.container import InputContainer
    from av.stream import Stream

    from contract.film import SourceStream
    from contract.job import Codec, Item, Spec

_MPEGTS = frozenset(
    [
        "mpeg2video",
        "mpeg1video",
        "mpeg4",
        "mp2",
        "mp2float",
        "mp3",
        "mp3float",
        "aac",
        "aac_latm",
        "ac3",
        "eac3",
        "dca",
        "truehd",
        "opus",
        "libopus",
        "s302m",
        "dvbsub",
        "dvb_subtitle",
        "dvb_teletext",
        "libzvbi_teletextdec",
        "klv",
        "timed_id3",
    ]
)
"""What a transport stream can name; FFmpeg would mux anything else as private data that nobody can read."""
_WEBM = frozenset(["vp8", "vp9", "av1", "libdav1d", "opus", "libopus", "vorbis", "libvorbis", "webvtt"])
_FILM: dict[str, tuple[Codec, ...]] = {
    "mp4": ("x264", "x265", "svtav1", "vp9"),
    "mov": ("x264", "x265", "prores"),
    "matroska": ("x264", "x265", "svtav1", "vp9", "ffv1", "prores"),
    "webm": ("svtav1", "vp9"),
    "mpegts": ("x264", "x265"),
    "nut": ("x264", "x265", "svtav1", "vp9", "ffv1"),
}
_CHOICES = ("matroska", "mov", "mp4", "mpegts", "nut")
"""Containers that are proposed, in this order."""
_STAND_IN = {"webm": "vp9"}
"""A film codec for trying a header with, mpeg4 where not named: it needs no headers of its own."""


def choose_container(item: Item, spec: Spec) -> str:
    """The result's muxer: what the spec names, else what the result's suffix says, else Matroska."""
    suffix = (spec.container or item.result.rsplit(".", 1)[-1]).lower()
    if suffix in CONTAINERS:
        return CONTAINERS[suffix]
    if spec.container:
        known = ", ".join(sorted(CONTAINERS))
        raise UsageError(f"--container {spec.container!r} is not one that can be written; choose one of {known}.")
    return "matroska"


def choose_streams(
    source: InputContainer, streams: tuple[SourceStream, ...], container: str, film: int, codec: Codec, what: str
) -> tuple[tuple[SourceStream, ...], list[str]]:
    """Decide what of `streams` goes into `container`. Sound, subtitles, covers and attachments all must: where one does
    not fit, Unsupported proposes by name a container that holds everything. Data streams that no film container knows are
    left behind with a note."""
    others = [s for s in streams if s.index != film]
    needed = [s for s in others if s.kind not in ("data", "other")]
    homeless = [s for s in needed if not can_hold(container, source.streams[s.index])]
    if container == "mpegts" and source.chapters():
        raise Unsupported(f"{what} has chapters, which ts cannot hold; name the result .mkv.")
    if homeless or codec not in _FILM[container]:
        able = [
            SUFFIXES[c]
            for c in _CHOICES
            if codec in _FILM[c] and all(can_hold(c, source.streams[s.index]) for s in needed)
        ]
        problem = (
            f"{what} has a {homeless[0].kind} stream ({homeless[0].codec})"
            if homeless
            else f"film encoded with {codec} is"
        )
        verb = "that " if homeless else "what "
        advice = (
            f"name the result .{able[0]}" if able else "none that is written here holds all streams; extract it first"
        )
        raise Unsupported(f"{problem} {verb}{SUFFIXES[container]} cannot hold; {advice}.")
    notes: list[str] = []
    kept = []
    for known in streams:
        if known.index != film and known not in needed and not can_hold(container, source.streams[known.index]):
            note = f"stream {known.index} of {what} ({known.kind}, {known.codec}) is left behind: {_why(known)}"
            notes.append(note)
            kept.append(msgspec.structs.replace(known, copied=False, note=note))
        else:
            kept.append(known)
    _try_header(source, kept, container, film, what)
    return tuple(kept), notes


def _why(known: SourceStream) -> str:
    if known.codec in ("tmcd", "text", "bin_data"):
        return "chapters and time codes are carried by the container itself"
    return "the container has no place for it"


def can_hold(container: str, stream: Stream) -> bool:
    """Whether FFmpeg's muxer `container` can carry `stream` as it is."""
    name = codec_name(stream)
    if stream.type == "attachment":
        return container == "matroska"
    if stream.type not in ("video", "audio", "subtitle", "data"):
        return False
    if stream.type == "data" and container != "mpegts":
        return False
    if (container == "mpegts" and name not in _MPEGTS) or (container == "webm" and name not in _WEBM):
        return False
    if container == "nut" and stream.type == "subtitle":
        return False
    with av.open(io.BytesIO(), "w", format=container) as probe:
        try:
            probe.add_stream_from_template(stream, opaque=True)
        except (ValueError, av.error.FFmpegError):
            return False
    return True


def _try_header(source: InputContainer, streams: list[SourceStream], container: str, film: int, what: str) -> None:
    """Write the header that the result will have, to nowhere: some muxers only then say what they cannot do."""
    with av.open(io.BytesIO(), "w", format=container) as probe:
        try:
            for known in streams:
                if known.index == film:
                    probe.add_mux_stream(_STAND_IN.get(container, "mpeg4"), width=64, height=64, rate=25)
                elif known.copied:
                    original = source.streams[known.index]
                    stream = probe.add_stream_from_template(original, opaque=True)
                    stream.disposition = original.disposition
            probe.start_encoding()
        except (ValueError, av.error.FFmpegError) as error:
            raise Unsupported(
                f"{SUFFIXES[container]} cannot hold the streams of {what} ({reason(error)}); name the result .mkv."
            ) from error


def codec_name(stream: Stream) -> str:
    """FFmpeg's name for what is in `stream`."""
    context: CodecContext | None = stream.codec_context  # None where there is no decoder, whatever the stubs say
    if context is not None:
        return context.name
    return (stream.name if stream.type == "data" else None) or str(stream.type)
