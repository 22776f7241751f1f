"""The result's container: which streams it can hold, and how it is opened so that timestamps stay what they are."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import av.error

from contract.codecs import SUFFIXES
from contract.errors import Unsupported
from contract.film import FilmIndex, SourceStream
from contract.media import reason

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import InputContainer, OutputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

    from contract.job import Spec

_MPEGTS = frozenset(
    [
        "h264",
        "hevc",
        "mpeg2video",
        "mpeg1video",
        "mpeg4",
        "mp2",
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
MAX_TIMESCALE = (1 << 31) - 1
_OWN_TAGS = frozenset(
    ("major_brand", "minor_version", "compatible_brands", "encoder", "duration", "number_of_frames", "number_of_bytes")
)
"""Tags by which a container describes itself: the new one writes its own."""
_MP4_TAGS = frozenset(
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
    ]
)


@dataclass
class Outlet:
    """The opened result: its film stream, and for each copied source stream its counterpart."""

    container: OutputContainer
    film: VideoStream
    others: dict[int, Stream]


def container_options(index: FilmIndex, spec: Spec, starts_late: bool) -> dict[str, str]:
    """Muxer options under which no timestamp is moved or rounded more than the container demands."""
    options = {"avoid_negative_ts": "disabled"}
    if index.container in ("mp4", "mov"):
        flags = []
        if spec.faststart:
            flags.append("faststart")
        scale = index.time_base[1]
        if scale <= MAX_TIMESCALE:
            options["video_track_timescale"] = str(scale)
            if starts_late:
                options["movie_timescale"] = str(scale)
        if flags:
            options["movflags"] = "+" + "+".join(flags)
    if index.container == "mpegts":
        options["avoid_negative_ts"] = "auto"
    return options


def can_hold(container: str, stream: Stream) -> bool:
    """Whether FFmpeg's muxer `container` can carry `stream` as it is."""
    probe = av.open(io.BytesIO(), "w", format=container)
    name = codec_name(stream)
    if container == "mpegts" and name not in _MPEGTS:
        return False
    if stream.type == "attachment":
        return container == "matroska"
    if stream.type == "data" and container != "mpegts":
        return False
    if container == "webm" and name not in ("vp8", "vp9", "av1", "libdav1d", "opus", "libopus", "vorbis", "webvtt"):
        return False
    try:
        probe.add_stream_from_template(stream, opaque=True)
    except ValueError:
        return False
    return True


def codec_name(stream: Stream) -> str:
    return (
        stream.codec_context.name
        if stream.codec_context is not None
        else str(getattr(stream, "name", None) or "unknown")
    )


def choose_streams(
    source: InputContainer, streams: tuple[SourceStream, ...], container: str, film: int, what: str
) -> tuple[tuple[SourceStream, ...], list[str]]:
    """Decide what of `streams` goes into `container`. Sound, subtitles, covers and attachments all must: if one does
    not fit, Unsupported proposes a container by name that holds everything. Data streams that no film container knows
    are left behind with a note."""
    import msgspec

    kept, notes, homeless = [], [], []
    for known in streams:
        if known.index == film:
            kept.append(known)
            continue
        stream = source.streams[known.index]
        if can_hold(container, stream):
            kept.append(known)
        elif known.kind in ("data", "other"):
            note = f"stream {known.index} ({known.kind}, {known.codec}) is left behind: {container} has no place for it"
            notes.append(note)
            kept.append(msgspec.structs.replace(known, copied=False, note=note))
        else:
            homeless.append(known)
    if homeless:
        first = homeless[0]
        able = [
            SUFFIXES[c]
            for c in ("matroska", "mov", "mp4", "mpegts", "nut")
            if c != container
            and all(
                can_hold(c, source.streams[s.index])
                for s in streams
                if s.index != film and s.kind not in ("data", "other")
            )
        ]
        advice = (
            f"name the result .{able[0]}"
            if able
            else "no container that is written here holds them all; extract it first"
        )
        raise Unsupported(
            f"{what} has a {first.kind} stream ({first.codec}) that {SUFFIXES.get(container, container)} cannot hold; {advice}."
        )
    return tuple(kept), notes


def open_result(
    out: Path | io.BytesIO,
    index: FilmIndex,
    spec: Spec,
    source: InputContainer,
    template: VideoStream,
    starts_late: bool,
) -> Outlet:
    """Open `out` with all streams in the source's order; `template` is the encoded film's stream of a chunk.

    Raises Unsupported when the container refuses one of them.
    """
    target: Any = out if isinstance(out, io.BytesIO) else str(out)
    container = av.open(
        target, "w", format=index.container, container_options=container_options(index, spec, starts_late)
    )
    container.metadata.update({k: v for k, v in source.metadata.items() if k.lower() not in _OWN_TAGS})
    film: VideoStream | None = None
    others: dict[int, Stream] = {}
    for known in index.streams:
        original = source.streams[known.index]
        try:
            if known.index == index.stream:
                film = container.add_stream_from_template(template, opaque=True)
                _dress(film, index)
                stream: Stream = film
            elif known.copied:
                stream = others[known.index] = container.add_stream_from_template(original, opaque=True)
                stream.time_base = original.time_base
            else:
                continue
        except (ValueError, av.error.FFmpegError) as error:
            raise Unsupported(
                f"{SUFFIXES.get(index.container, index.container)} cannot hold the {known.kind} stream ({known.codec}): "
                f"{reason(error)}; name the result .mkv."
            ) from error
        stream.metadata.update(_tags(original, known.index == index.stream))
        stream.disposition = original.disposition
    assert film is not None
    chapters = source.chapters()
    if chapters:
        container.set_chapters(chapters)
    return Outlet(container, film, others)


def _tags(original: Stream, film: bool) -> dict[str, str]:
    """A stream's tags; those of the film lose what describes the source's encoding."""
    found = {}
    for key, value in original.metadata.items():
        base = key.lower().split("-")[0]
        if film and (base in _OWN_TAGS or base in ("bps", "_statistics_tags", "_statistics_writing_app", "vendor_id")):
            continue
        if film and base.startswith("_statistics"):
            continue
        found[key] = value
    return found


def _dress(film: VideoStream, index: FilmIndex) -> None:
    """What a bare stream does not know of itself: colour, shape, rotation, time base."""
    from contract.codecs import pixel_class

    context = film.codec_context
    colour = index.colour
    context.color_range = colour.range or (2 if colour.full else 0)
    context.color_primaries = colour.primaries
    context.color_trc = colour.transfer
    context.colorspace = 0 if pixel_class(index.encoding.pix_fmt).rgb else colour.space
    if index.sar[0] and index.sar[1]:
        context.sample_aspect_ratio = Fraction(*index.sar)
    context.framerate = index.rate
    if index.display_matrix is not None:
        film.set_display_matrix(index.display_matrix)
    film.time_base = Fraction(*index.time_base)
