"""The result's container: the streams that it can hold, opened so that no timestamp changes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
import av.error

from contract.errors import Unsupported
from contract.film import MAX_TIMESCALE, FilmIndex
from contract.masks import MaskMaking, mask_tags
from contract.provenance import film_tags
from media.codecs import SUFFIXES
from media.columns import unpack
from media.container_clock import FINE, MILLISECOND, container_tick, distinct, movie_timescale
from media.copied_streams import add_copied, name_layout
from media.opening import reason
from media.piece import chapters_of, window_of
from orchestrator.assemble.matroska_clock import slowdown
from orchestrator.assemble.tags import MP4_TAGS, carried_tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.container.core import Chapter
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

    from contract.film import SourceStream
    from contract.job import Spec
    from contract.provenance import Making

Covers = dict[int, tuple[str, str, bytes]]
"""Covers that become attachments in the result: file name, MIME type and picture by source stream."""


@dataclass
class Outlet:
    """The opened result: its film stream, and for each copied source stream its counterpart."""

    container: OutputContainer
    film: VideoStream
    others: dict[int, Stream]
    slower: int = 1
    """By how much times are multiplied, for a container whose clock is made finer afterwards."""

    def mux(self, packet: Packet[Stream] | Packet[VideoStream]) -> None:
        """Write a packet of one of the streams."""
        packet.time_base *= self.slower
        self.container.mux(packet)


def container_options(index: FilmIndex, spec: Spec, late: Iterable[int], tags: dict[str, str]) -> dict[str, str]:
    """Return muxer options under which timestamps are moved and rounded no more than the container demands.

    `late` are the ticks a second of the tracks that an edit list delays. Bit-exact writing leaves out random ids and times of
    writing: two processes that assemble one film write the same bytes.
    """
    options = {"avoid_negative_ts": "disabled", "fflags": "+bitexact"}
    if index.container in ("mp4", "mov"):
        flags = []
        if spec.faststart:
            flags.append("faststart")
        if any(tag not in MP4_TAGS for tag in tags):
            flags.append("use_metadata_tags")
        options["video_track_timescale"] = str(_film_clock(index))
        if late := tuple(late):
            options["movie_timescale"] = str(movie_timescale((_film_clock(index), *late)))
        if flags:
            options["movflags"] = "+" + "+".join(flags)
    if index.container == "mpegts":
        options["avoid_negative_ts"] = "auto"
    return options


def open_result(
    out: Path,
    index: FilmIndex,
    spec: Spec,
    source: InputContainer,
    template: VideoStream,
    covers: Covers,
    made: Making | MaskMaking | None = None,
    move: Fraction = Fraction(0),
    frames: Mapping[int, tuple[bytes, ...]] | None = None,
) -> Outlet:
    """Open `out` with all streams in the source's order.

    `template` is the encoded film's stream of a chunk, `covers` are the pictures of the source's cover streams, `made` is
    the provenance record for the tags; `move` seconds are added to all times; `frames` are those of `misnamed_sound`.
    Raises Unsupported when the container refuses one of the streams.
    """
    tags = carried_tags(source.metadata, film=False, index=index)
    if isinstance(made, MaskMaking):
        tags |= mask_tags(made)
    elif made is not None:
        tags |= film_tags(made, index.container, tags)
    slower = slowdown(result_tick(index)) if index.container in ("matroska", "webm") else 1
    container = _open_container(out, index, spec, tags, _late_clocks(index, source, bool(move)), slower)
    film: VideoStream | None = None
    others: dict[int, Stream] = {}
    attachments = [k for k in index.streams if k.kind == "attachment" or (k.kind == "cover" and k.index in covers)]
    # Attachments come last: some muxers number packets by track and attachments have none.
    for known in [k for k in index.streams if k not in attachments] + attachments:
        original = source.streams[known.index]
        try:
            stream = _add_stream(
                container, known, original, index, template, covers, (frames or {}).get(known.index, ())
            )
        except (ValueError, av.error.FFmpegError) as error:
            raise Unsupported(
                f"{SUFFIXES[index.container]} cannot hold the {known.kind} stream ({known.codec}): {reason(error)}; name "
                "the result .mkv."
            ) from error
        if stream is None:
            continue
        if known.index == index.stream:
            film = cast("VideoStream", stream)
        else:
            others[known.index] = stream
        carried = carried_tags(original.metadata, film=known.index == index.stream, index=index)
        if index.container in ("mp4", "mov") and "name" in carried:
            carried.setdefault("title", carried.pop("name"))  # the demuxer's name for it is not the muxer's
        stream.metadata.update(carried)
        stream.disposition = original.disposition
    assert film is not None
    chapters = chapters_of(source, window_of(index))
    if chapters:
        container.set_chapters([_moved(chapter, move) for chapter in chapters])
    return Outlet(container, film, others, slower)


def _film_clock(index: FilmIndex) -> int:
    """Return the ticks a second of the film's track in mp4 and mov."""
    scale = index.time_base[1]
    return scale if scale <= MAX_TIMESCALE else FINE.denominator


def _late_clocks(index: FilmIndex, source: InputContainer, moved: bool) -> list[int]:
    """Return the ticks a second of those tracks in mp4 and mov whose edit lists need more than milliseconds."""
    pts, base = unpack(index.pts), Fraction(*index.time_base)
    late = [_film_clock(index)] if pts[0] or moved or not distinct(pts, base, MILLISECOND) else []
    for known in index.streams:
        if known.copied and known.kind in ("audio", "video", "subtitle") and (moved or known.start > 0):
            stream = source.streams[known.index]
            rate = cast("AudioStream", stream).codec_context.sample_rate if known.kind == "audio" else 0
            late.append(rate or (stream.time_base or MILLISECOND).denominator)
    return late


def _open_container(
    out: Path, index: FilmIndex, spec: Spec, tags: dict[str, str], late: list[int], slower: int
) -> OutputContainer:
    options = container_options(index, spec, late, tags)
    if slower > 1:
        options["write_crc32"] = "0"
    container = av.open(
        str(out),
        "w",
        format=index.container,
        container_options=options,
        metadata_errors="replace",
    )
    container.metadata.update(tags)
    return container


def _add_stream(
    container: OutputContainer,
    known: SourceStream,
    original: Stream,
    index: FilmIndex,
    template: VideoStream,
    covers: Covers,
    frames: tuple[bytes, ...],
) -> Stream | None:
    """Add one stream of the source, or an attachment, to the result; None for what has no packets or is not copied."""
    if known.index == index.stream:
        film = container.add_stream_from_template(template, opaque=True)
        _dress(film, index)
        return film
    if not known.copied:
        return None
    if known.kind == "cover" and known.index in covers:
        name, kind, data = covers[known.index]
        container.add_attachment(name, kind, data)
        return None
    if known.converted:
        rate = cast("AudioStream", original).codec_context.sample_rate
        return cast("Stream", container.add_stream(known.converted, rate=rate))
    stream = add_copied(container, known, original, frames)
    name_layout(stream, index.container)
    return stream


def result_tick(index: FilmIndex) -> Fraction:
    """Return the seconds to which the result's container rounds times; 0 when it keeps them exactly."""
    return container_tick(index.container, unpack(index.pts), Fraction(*index.time_base))


def _moved(chapter: Chapter, move: Fraction) -> Chapter:
    ticks = round(move / (chapter["time_base"] or 1))
    return {**chapter, "start": chapter["start"] + ticks, "end": chapter["end"] + ticks}


def _dress(film: VideoStream, index: FilmIndex) -> None:
    """Set what a stream made from a template lacks: colour, shape, rotation, time base."""
    context = film.codec_context
    colour = index.encoding.colour
    context.color_range = colour.range or (2 if colour.full else 0)
    context.color_primaries = colour.primaries
    context.color_trc = colour.transfer
    context.colorspace = colour.space
    if index.sar[0] and index.sar[1]:
        context.sample_aspect_ratio = Fraction(*index.sar)
    context.framerate = index.rate
    context.field_order = index.encoding.field_order
    if index.display_matrix is not None:
        film.set_display_matrix(index.display_matrix)
    film.time_base = Fraction(*index.time_base)
