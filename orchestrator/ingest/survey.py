"""Survey of a source: one pass over its headers and packets, before it is decided how the film is cut."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

import av.logging
import msgspec
import numpy as np
import numpy.typing as npt

from contract.errors import Unsupported
from contract.film import Span, TimeMark
from contract.packets import CORRUPT
from contract.severity import Loss
from media.codecs import SUFFIXES, pixel_class
from media.containers import Holding
from media.decoding import INCOMPLETE, spans
from media.demuxing import film_description
from media.dolby_frames import DOLBY, DolbyFrames
from media.opening import DecoderLog, open_media
from media.sound_configuration import SoundConfigurations
from orchestrator.ingest.contents import FilmContents, track_notes, track_runs
from orchestrator.ingest.dynamic_range import hdr_evidence, refuse_hdr
from orchestrator.ingest.encoding import announced_rates, nominal_step
from orchestrator.ingest.film_choice import choose_film, stream_of
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
    from orchestrator.ingest.film_choice import FilmChoice

TAGGED_INSIDE = frozenset(("h264", "hevc", "av1", "libdav1d", "vp9"))
"""Codecs whose pictures name their transfer function themselves, independently of the container."""
ORIENTED = frozenset(("mjpeg", "png", "tiff"))
"""Codecs whose pictures may hold an EXIF orientation."""
MANY = 20
"""Most complaints of a demuxer that are repeated in full: a scrambled file gives thousands."""
ROUNDED = Fraction(3, 2000)
"""Seconds by which the length of an edit list may be off: mp4 counts those in milliseconds."""


TimeCodeTrack = tuple[int, str, tuple[tuple[float, int], ...]]


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

    def damage(self, positions: npt.NDArray[np.int64], pts: npt.NDArray[np.int64]) -> list[Span]:
        """Return the damage that the container reports: packets with missing bytes, and places that it could not read.

        `positions` has the position of each packet, `pts` the time of each position.
        """
        incomplete = positions[np.flatnonzero(self.table.flags & CORRUPT)]
        marked = spans({int(position): INCOMPLETE for position in incomplete if position >= 0})
        return marked + self.elsewhere(positions, pts)

    def said_of_contents(self, positions: npt.NDArray[np.int64], pts: npt.NDArray[np.int64], what: str) -> list[str]:
        """Describe what the packets and the tracks of time code carry beside samples."""
        notes = self.contents.notes(what, positions, pts, self.time_base)
        for number, first, samples in self.time_codes:
            notes += track_notes(what, number, samples, first, pts, self.time_base)
        return notes

    def time_marks(self, positions: npt.NDArray[np.int64], pts: npt.NDArray[np.int64]) -> tuple[TimeMark, ...]:
        """Return all time code and recording dates that the source carries in more than a tag."""
        marks = self.contents.marks(positions, pts, self.time_base)
        for number, first, samples in self.time_codes:
            found = track_runs(samples, first, pts, self.time_base)
            marks += [TimeMark(run.first, "time_code", str(run.code), f"stream {number}") for run in found]
        return tuple(marks)

    def elsewhere(self, positions: npt.NDArray[np.int64], pts: npt.NDArray[np.int64]) -> list[Span]:
        """Return damage beside the film's own packets, as points (spans of no frames) in the film."""
        last = len(pts) - 1
        said = dict.fromkeys(self.table.said)
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
        if self.table.broken_off:
            points.append(Span(last, 0, f"the file breaks off here ({self.table.broken_off})"))
        return points


def survey_film(source: BinaryIO, item: Item, spec: Spec, what: str, checkpoint: Callable[[], None]) -> Survey:
    """Look at everything in `source` once, decoding one frame at most; call `checkpoint` at each packet of the film.

    Raises what `plan_film` does.
    """
    with DecoderLog("", level=av.logging.WARNING) as log, open_media(source, what) as container:
        log.name = container.format.name
        chosen = choose_film(container, spec, what)
        stream = chosen.stream
        picture = describe_picture(container, stream, what)
        _refuse_transparency(stream, picture, spec, what)
        found = describe_streams(container, stream)
        tallies = {s.index: _tally(container, s) for s in found if s.kind != "attachment" and s.index != stream.index}
        contents = FilmContents(stream.codec_context.name, stream.codec_context.extradata or b"")
        table = read_packets(container, stream, tallies, contents, what, log, checkpoint)
        encrypted = [n for n, t in tallies.items() if t.encrypted and n not in chosen.elsewhere]
        refuse_encrypted(source, container.format.name, contents.encrypted, encrypted, what)
        late = appeared_late(container, what)
        hdr_notes = _dynamic_range(source, container, stream, picture, contents, spec, what)
        found, misnamed = _truly_named(found, tallies, what)
        holding = _holding(container, found, tallies, chosen, picture, spec, what)
        choice = holding.choose(item, spec)
        picture = replace(picture, sar=sample_aspect(stream))  # some demuxers learn it from the packets
        survey = Survey(
            form=container.format.name,
            codec=stream.codec_context.name,
            number=stream.index,
            time_base=stream.time_base or Fraction(1, 90000),
            reorder=stream.codec_context.has_b_frames,
            picture=picture,
            streams=tuple(_counted(s, tallies) for s in choice.streams),
            table=table,
            rates=announced_rates(stream),
            step=nominal_step(stream, table),
            container=choice.container,
            notes=[
                *chosen.notes,
                *choice.notes,
                *hdr_notes,
                *late,
                *misnamed,
                *_hidden(tallies, what),
                *disc_notes(source, what),
                *(f"stream {n} of {what} {sound.summary}" for n, sound in holding.changing.items()),
                *(f"the container of {what} says: {words.rstrip('.')}" for words in dict.fromkeys(table.notable)),
            ],
            field_order=stream.codec_context.field_order,
            end=_end(container, stream),
            wounded=tuple(_wounds(container, found, tallies)),
            contents=contents,
            time_codes=_time_codes(container, tallies),
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


def _time_codes(container: InputContainer, tallies: dict[int, Tally]) -> tuple[TimeCodeTrack, ...]:
    return tuple(
        (n, container.streams[n].metadata["timecode"], tuple(t.time_code))
        for n, t in tallies.items()
        if t.time_code is not None
    )


def _tally(container: InputContainer, known: SourceStream) -> Tally:
    if known.kind == "data" and "timecode" in container.streams[known.index].metadata:
        return Tally(time_code=[])
    if known.kind != "audio":
        return Tally()
    context = container.streams[known.index].codec_context
    return Tally(
        sound=SoundConfigurations(known.codec, (context.extradata if context else None) or b""),
        dolby=DolbyFrames() if known.codec in DOLBY else None,
    )


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


def _truly_named(
    found: tuple[SourceStream, ...], tallies: dict[int, Tally], what: str
) -> tuple[tuple[SourceStream, ...], list[str]]:
    """Return the streams with E-AC-3 by its name, which NUT calls AC-3, and notes on those."""
    wrong = {
        s.index
        for s in found
        if s.codec == "ac3" and (tally := tallies.get(s.index)) and tally.dolby and tally.dolby.codec == "eac3"
    }
    notes = [f"stream {n} of {what} is E-AC-3, and its container calls it AC-3" for n in sorted(wrong)]
    return tuple(msgspec.structs.replace(s, codec="eac3") if s.index in wrong else s for s in found), notes


def _counted(known: SourceStream, tallies: dict[int, Tally]) -> SourceStream:
    tally = tallies.get(known.index, Tally())
    return msgspec.structs.replace(known, packets=tally.packets, size=tally.size, crc=tally.crc, start=tally.start)


def _hidden(tallies: dict[int, Tally], what: str) -> list[str]:
    return [
        Loss(
            f"{t.hidden} packets of stream {n} of {what} lie before the start that its edit list sets (up to {t.hidden_s:.3f} s); "
            "they are left out"
        )
        for n, t in tallies.items()
        if t.hidden
    ]


def _wounds(
    container: InputContainer, found: tuple[SourceStream, ...], tallies: dict[int, Tally]
) -> list[tuple[float, str]]:
    wounds = []
    for s in found:
        tally = tallies.get(s.index, Tally())
        if tally.incomplete:
            first = float(min(tally.incomplete) * (container.streams[s.index].time_base or 0))
            count = f"{len(tally.incomplete)} packets of stream {s.index} ({s.kind}, {s.codec})"
            wounds.append(
                (first, f"the container marks {count} as incomplete, the first here; they are copied as they are")
            )
    return wounds


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
