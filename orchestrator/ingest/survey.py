"""Survey of a source: one pass over its headers and packets, before it is decided how the film is cut."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

import av.logging
import numpy as np
import numpy.typing as npt

from contract.errors import Unsupported
from contract.film import Span, TimeMark
from contract.packets import CORRUPT
from media.codecs import SUFFIXES, pixel_class
from media.containers import Holding
from media.decoding import INCOMPLETE, spans
from media.demuxing import film_description
from media.opening import DecoderLog, open_media
from orchestrator.ingest.contents import FilmContents, track_notes, track_runs, within
from orchestrator.ingest.dynamic_range import hdr_evidence, refuse_hdr
from orchestrator.ingest.encoding import announced_rates, nominal_step
from orchestrator.ingest.film_choice import choose_film, stream_of
from orchestrator.ingest.other_streams import (
    TimeCodeTrack,
    counted,
    cut_notes,
    in_window,
    tallies_for,
    time_codes,
    truly_named,
    wounds,
)
from orchestrator.ingest.packets import PacketTable, Tally, read_packets
from orchestrator.ingest.probe import (
    UNTAGGED,
    Picture,
    describe_picture,
    describe_streams,
    display_matrix,
    frame_transfer,
    sample_aspect,
)
from orchestrator.ingest.unreadable import appeared_late, disc_notes, refuse_encrypted

if TYPE_CHECKING:
    from collections.abc import Callable

    from av.container import InputContainer
    from av.video.stream import VideoStream

    from contract.film import SourceStream
    from contract.job import Item, Spec
    from media.piece import Window
    from orchestrator.ingest.film_choice import FilmChoice

TAGGED_INSIDE = frozenset(("h264", "hevc", "av1", "libdav1d", "vp9"))
"""Codecs whose pictures name their transfer function themselves, independently of the container."""
ORIENTED = frozenset(("mjpeg", "png", "tiff"))
"""Codecs whose pictures may hold an EXIF orientation."""
MANY = 20
"""Most complaints of a demuxer that are repeated in full: a scrambled file gives thousands."""
ROUNDED = Fraction(3, 2000)
"""Seconds by which the length of an edit list may be off: mp4 counts those in milliseconds."""


@dataclass(frozen=True)
class Survey:
    """Result of one pass over the source's headers and packets."""

    form: str
    codec: str
    number: int
    time_base: Fraction
    reorder: bool
    picture: Picture
    streams: tuple[SourceStream, ...]
    table: PacketTable
    rates: list[Fraction]
    step: int
    container: str
    notes: list[str]
    field_order: int
    contents: FilmContents
    time_codes: tuple[TimeCodeTrack, ...] = ()
    """Tracks of time code: stream, first in words, samples as (seconds, frame number)."""
    end: int | None = None
    """End of the last frame (time base units), if the container knows it better than its packets."""
    wounded: tuple[tuple[float, str], ...] = ()
    """Damage in other streams than the film's, with its start in seconds."""
    window: Window | None = None
    """The piece of the source that the other streams were counted in."""

    def damage(self, positions: npt.NDArray[np.int64], pts: npt.NDArray[np.int64]) -> list[Span]:
        """Return the damage that the container reports: packets with missing bytes, and places that it could not read.

        `positions` has the position of each packet, `pts` the time of each position.
        """
        incomplete = positions[np.flatnonzero(self.table.flags & CORRUPT)]
        marked = spans({int(position): INCOMPLETE for position in incomplete if 0 <= position < len(pts)})
        return marked + self.elsewhere(positions, pts)

    def said_of_contents(self, positions: npt.NDArray[np.int64], pts: npt.NDArray[np.int64], what: str) -> list[str]:
        """Describe what the packets and the tracks of time code carry beside samples."""
        notes = self.contents.notes(what, positions, pts, self.time_base)
        for number, first, samples in self._time_codes(pts):
            notes += track_notes(what, number, samples, first, pts, self.time_base)
        return notes

    def time_marks(self, positions: npt.NDArray[np.int64], pts: npt.NDArray[np.int64]) -> tuple[TimeMark, ...]:
        """Return all time code and recording dates that the source carries in more than a tag."""
        marks = self.contents.marks(positions, pts, self.time_base)
        for number, first, samples in self._time_codes(pts):
            found = track_runs(samples, first, pts, self.time_base)
            marks += [TimeMark(run.first, "time_code", str(run.code), f"stream {number}") for run in found]
        return tuple(marks)

    def _time_codes(self, pts: npt.NDArray[np.int64]) -> tuple[TimeCodeTrack, ...]:
        """Return the tracks of time code with several samples, those of a piece as they run in it."""
        several = tuple(track for track in self.time_codes if len(track[2]) > 1)
        if self.window is None:
            return several
        return tuple((n, first, within(samples, pts, self.time_base)) for n, first, samples in several)

    def elsewhere(self, positions: npt.NDArray[np.int64], pts: npt.NDArray[np.int64]) -> list[Span]:
        """Return damage beside the film's own packets, as points (spans of no frames) in the film."""
        last = len(pts) - 1
        said = dict.fromkeys(self.table.said)
        if self.window is not None:
            near = {packet: int(positions[min(packet, len(positions) - 1)]) for packet, _ in said}
            said = {(packet, words): None for packet, words in said if 0 <= near[packet] <= last}
        points = [
            Span(
                max(0, int(positions[min(packet, len(positions) - 1)])),
                0,
                f"the container cannot be read here ({words})",
            )
            for packet, words in list(said)[:MANY]
        ]
        if len(said) > MANY:
            points.append(Span(0, 0, f"the container cannot be read at {len(said) - MANY} more places"))
        for seconds, words in self.wounded:
            at = int(np.searchsorted(pts, int(Fraction(seconds) / self.time_base)))
            points.append(Span(min(at, last), 0, words))
        if self.table.broken_off and (self.window is None or self.window.end is None):
            points.append(Span(last, 0, f"the file breaks off here ({self.table.broken_off})"))
        return points


def survey_film(
    source: BinaryIO,
    item: Item,
    spec: Spec,
    what: str,
    checkpoint: Callable[[], None],
    window: Window | None = None,
) -> Survey:
    """Look at everything in `source` once, decoding one frame at most; call `checkpoint` at each packet of the film.

    Other streams are counted within `window`, where only that piece is restored. Raises what `plan_film` does.
    """
    with DecoderLog("", level=av.logging.WARNING) as log, open_media(source, what) as container:
        log.name = container.format.name
        chosen = choose_film(container, spec, what)
        stream = chosen.stream
        picture = describe_picture(container, stream, what)
        _refuse_transparency(stream, picture, spec, what)
        found = describe_streams(container, stream)
        tallies = tallies_for(container, found, stream.index, window)
        contents = FilmContents(stream.codec_context.name, stream.codec_context.extradata or b"")
        table = read_packets(container, stream, tallies, contents, what, log, checkpoint)
        _refuse_encrypted(source, container, contents, tallies, chosen, what)
        hdr_notes = _dynamic_range(source, container, stream, picture, contents, spec, what)
        found, misnamed = truly_named(found, tallies, what)
        holding = _holding(container, found, tallies, chosen, picture, spec, what)
        choice = in_window(holding.choose(item, spec), stream.index, window, what)
        survey = Survey(
            form=container.format.name,
            codec=stream.codec_context.name,
            number=stream.index,
            time_base=stream.time_base or Fraction(1, 90000),
            reorder=stream.codec_context.has_b_frames,
            picture=replace(picture, sar=sample_aspect(stream)),  # some demuxers learn it from the packets
            streams=tuple(counted(s, tallies) for s in choice.streams),
            table=table,
            rates=announced_rates(stream),
            step=nominal_step(stream, table),
            container=choice.container,
            notes=[
                *chosen.notes,
                *choice.notes,
                *hdr_notes,
                *appeared_late(container, what),
                *misnamed,
                *cut_notes(choice.streams, tallies, window, what),
                *disc_notes(source, what),
                *(f"stream {n} of {what} {sound.summary}" for n, sound in holding.changing.items()),
                *(f"the container of {what} says: {words.rstrip('.')}" for words in dict.fromkeys(table.notable)),
            ],
            field_order=stream.codec_context.field_order,
            end=_end(container, stream),
            wounded=tuple(wounds(container, found, tallies)),
            contents=contents,
            time_codes=time_codes(container, tallies),
            window=window,
        )
    if survey.table.broken_off:
        survey = _survey_film_alone(source, survey, what, checkpoint)
    return _oriented(source, survey, what) if picture.turned or survey.codec in ORIENTED else survey


def _oriented(source: BinaryIO, survey: Survey, what: str) -> Survey:
    """Add the display matrix, which only frames show whole; raise Unsupported where the result cannot hold it."""
    with open_media(source, what) as container:
        matrix = display_matrix(container, stream_of(container, survey.number))
    if matrix is not None and not survey.picture.turned and survey.container in ("mpegts", "webm"):
        raise Unsupported(
            f"{what} is to be shown rotated (its pictures' EXIF), which {SUFFIXES[survey.container]} cannot say; name the "
            "result .mkv."
        )
    return replace(survey, picture=replace(survey.picture, display_matrix=matrix, turned=matrix is not None))


def _refuse_transparency(stream: VideoStream, picture: Picture, spec: Spec, what: str) -> None:
    if stream.metadata.get("alpha_mode") == "1" and not spec.pix_fmt and not pixel_class(picture.pix_fmt).alpha:
        raise Unsupported(
            f"{what} is transparent ({stream.codec_context.name} with alpha), which no decoder here reads; accept the "
            f"loss with --pix-fmt {picture.pix_fmt}."
        )


def _refuse_encrypted(
    source: BinaryIO,
    container: InputContainer,
    contents: FilmContents,
    tallies: dict[int, Tally],
    chosen: FilmChoice,
    what: str,
) -> None:
    encrypted = [n for n, t in tallies.items() if t.encrypted and n not in chosen.elsewhere]
    refuse_encrypted(source, container.format.name, contents.encrypted, encrypted, what)


def _dynamic_range(
    source: BinaryIO,
    container: InputContainer,
    stream: VideoStream,
    picture: Picture,
    contents: FilmContents,
    spec: Spec,
    what: str,
) -> list[str]:
    """Refuse HDR that was not asked for; return notes for HDR that was."""
    transfer = UNTAGGED
    if stream.codec_context.name in TAGGED_INSIDE:
        with open_media(source, what) as again:
            transfer = frame_transfer(again, stream_of(again, stream.index))
    hdr = hdr_evidence(picture, transfer, film_description(container, stream), contents.messages)
    return refuse_hdr(hdr, spec, what)


def _holding(
    container: InputContainer,
    found: tuple[SourceStream, ...],
    tallies: dict[int, Tally],
    chosen: FilmChoice,
    picture: Picture,
    spec: Spec,
    what: str,
) -> Holding:
    """Ask what can hold the film and the streams that were `found`."""
    return Holding(
        source=container,
        streams=found,
        film=chosen.stream.index,
        codec=spec.codec,
        turned=picture.turned,
        what=what,
        changing={n: t.sound for n, t in tallies.items() if t.sound is not None and t.sound.changes},
        broken={n: t.dolby.broken for n, t in tallies.items() if t.dolby is not None and t.dolby.broken},
        heads={n: tuple(t.heads) for n, t in tallies.items()},
        dropped=chosen.elsewhere,
        on_unheld=spec.on_unheld,
    )


def _end(container: InputContainer, stream: VideoStream) -> int | None:
    """Return the end of the film by its track, for mp4 and mov.

    Their packets' durations are distances of decode times, which with reordering say nothing about the last frame shown.
    """
    if not container.format.name.startswith("mov,") or not stream.codec_context.has_b_frames or not stream.duration:
        return None
    return (stream.start_time or 0) + stream.duration


def last_duration(survey: Survey, last_pts: int, own: int) -> int:
    """Return the duration of the last frame; `own` is its packet's."""
    if survey.end is None:
        return own
    lasting = survey.end - last_pts
    return lasting if lasting > 0 and abs(lasting - own) * survey.time_base > ROUNDED else own


def _survey_film_alone(source: BinaryIO, survey: Survey, what: str, checkpoint: Callable[[], None]) -> Survey:
    """Read the film's stream alone: a file that breaks off in another stream may still hold more of the film."""
    with DecoderLog("", level=av.logging.WARNING) as log, open_media(source, what) as container:
        log.name = container.format.name
        contents = FilmContents(survey.codec, b"")
        table = read_packets(container, stream_of(container, survey.number), {}, contents, what, log, checkpoint)
    if len(table) == len(survey.table):
        return survey
    note = f"{what} breaks off ({survey.table.broken_off}) after {len(survey.table)} of {len(table)} pictures"
    return replace(survey, table=table, notes=[*survey.notes, note])
