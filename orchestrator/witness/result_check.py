"""The check of a delivered film: its reading held against itself, and against what it must hold. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from media.columns import unpack
from orchestrator.witness.expectation import Expectation, ExpectedStream
from orchestrator.witness.result_reading import ReadStream, ResultReading

LATEST_START = 10.0
"""Seconds by which a transport stream may start later as a whole."""
CHAPTER_OFF = 0.002
"""Seconds by which chapters may move: mp4 counts them in milliseconds."""
DIVIDED = "pcm_"
"""Beginning of the names of codecs whose samples mov and mp4 cut into packets of their own."""
WIDEST = 0.25
"""Seconds by which an announced length may differ from the packets that are there, beside the film's longest frame."""

Seconds = npt.NDArray[np.float64]
Pairs = list[tuple[ExpectedStream, ReadStream]]


def faults_of(reading: ResultReading, empty: Collection[int] = ()) -> list[str]:
    """Return the faults that a film shows by itself, without its source. Streams in `empty` may be without packets."""
    found = [f"the file breaks off ({reading.broken})"] if reading.broken else []
    found += [f"the container cannot be read in places ({words})" for words in reading.complaints[:1]]
    films = reading.films
    if not films:
        found.append("it has no picture")
    for stream in reading.streams:
        if stream.kind not in ("video", "audio"):
            continue
        if not stream.packets and stream.index not in empty:
            found.append(f"{_named(stream)} is announced and has no packets")
        if stream.packets and reading.whole and not stream.frames:
            found.append(f"{_named(stream)} has {stream.packets} packets, and none can be decoded")
        if films == [stream]:
            found += _picture(stream, reading.whole)
    return found + list(_lengths(reading))


def _picture(stream: ReadStream, whole: bool) -> Iterator[str]:
    """Yield the faults of the film's stream alone; pictures that are copied from the source may have them."""
    if stream.complained:
        at, words = stream.complaints[0]
        yield f"the film does not decode after frame {at}: {words}"
    if stream.untimed:
        yield f"{stream.untimed} frames of the film have no time"
    steps = np.diff(stream.shown)
    shared = int((steps == 0).sum())
    if shared:
        yield f"{shared} frames of the film are shown at the time of another"
    back = int((steps < 0).sum())
    if back and whole:
        yield f"the times of the film fall back {back} times in the order in which frames are shown"


def _lengths(reading: ResultReading) -> Iterator[str]:
    """Yield announced lengths that are not those of the packets."""
    ends = [s.ends for s in reading.streams if s.ends is not None]
    begins = [s.begins for s in reading.streams if s.begins is not None]
    if not ends or reading.broken:
        return
    real = max(ends) - min([0.0, *begins])
    slack = WIDEST + max(
        [float(np.diff(s.shown).max() * Fraction(*s.base)) for s in reading.films if len(s.shown) > 1], default=0.0
    )
    if reading.length is not None and reading.length > real + slack:
        yield f"it announces {reading.length:.3f} s, and its packets end after {real:.3f} s"
    if reading.length is not None and reading.length < max(ends) - max([0.0, min(begins)]) - slack:
        yield f"packets follow after its announced end ({max(ends):.3f} s of {reading.length:.3f} s)"


def faults(reading: ResultReading, expected: Expectation) -> list[str]:
    """Return where a film contradicts itself or what is expected of it."""
    pairs, missing, extra = matched(reading, expected)
    found = faults_of(reading, {stream.index for wanted, stream in pairs if not wanted.packets})
    found += [f"{stream.words} is missing" for stream in missing]
    found += [f"{_named(stream)} belongs to nothing in the source" for stream in extra]
    for wanted, stream in pairs:
        if wanted.source == expected.film:
            found += _film(stream, expected, reading.whole)
        elif wanted.kind != "attachment":
            found += _copy(wanted, stream, reading.whole)
    return list(dict.fromkeys([*found, *_chapters(reading, expected)]))


def matched(reading: ResultReading, expected: Expectation) -> tuple[Pairs, list[ExpectedStream], list[ReadStream]]:
    """Return streams that correspond by kind, codec and order, those that are missing, and those that are too many."""
    left = list(reading.streams)
    pairs: Pairs = []
    missing = []
    for wanted in expected.streams:
        same = next((s for s in left if _same(wanted, s)), None)
        if same is None:
            if wanted.packets or wanted.kind == "attachment" or wanted.source == expected.film:
                missing.append(wanted)
            continue
        left.remove(same)
        pairs.append((wanted, same))
    own = list(expected.own)
    extra = []
    for stream in left:
        if (stream.kind, stream.codec) in own:
            own.remove((stream.kind, stream.codec))
        else:
            extra.append(stream)
    return pairs, missing, extra


def lost_subtitles(reading: ResultReading, expected: Expectation, counted: Mapping[int, int]) -> list[str]:
    """Describe subtitles that lost packets. `counted` are those of the source, by its streams, as a plain demuxer gives them.

    A muxer may add some, to end what is shown.
    """
    pairs, _, _ = matched(reading, expected)
    return [
        f"{wanted.words} has {stream.packets} packets in the result, {counted[wanted.source]} in the source"
        for wanted, stream in pairs
        if wanted.source in counted and stream.packets < counted[wanted.source]
    ]


def delivered_film(reading: ResultReading, expected: Expectation) -> ReadStream | None:
    """Return the stream of a result that is the film; None where it is missing."""
    pairs, _, _ = matched(reading, expected)
    return next((stream for wanted, stream in pairs if wanted.source == expected.film), None)


def _same(wanted: ExpectedStream, stream: ReadStream) -> bool:
    if wanted.kind == "attachment":
        return stream.kind == "attachment" and stream.payload == wanted.payload
    return (stream.kind, stream.codec) == (wanted.kind, wanted.codec)


def _film(stream: ReadStream, expected: Expectation, whole: bool) -> Iterator[str]:
    frames = stream.frames if whole else stream.packets
    if not frames:
        yield "the film has no packets"
    elif frames != expected.frames:
        yield f"the film has {frames} frames, expected were {expected.frames}"
    if stream.sizes and set(stream.sizes) != {expected.size}:
        others = ", ".join(f"{w}x{h}" for w, h in stream.sizes)
        yield f"the film's frames are {others}, expected were {expected.size[0]}x{expected.size[1]}"
    yield from _picture(stream, whole)
    yield from _film_times(stream, expected)


def _film_times(stream: ReadStream, expected: Expectation) -> Iterator[str]:
    planned = _seconds(unpack(expected.times), expected.base)
    shown = _seconds(stream.shown, stream.base)
    if not len(shown):
        return
    allowed = max(float(Fraction(*stream.base)), float(Fraction(*expected.tick))) + 1e-9
    moved = _moved(shown, planned, expected, allowed)
    if moved is None:
        yield (
            f"its first frame is shown at {shown[0]:.6f} s, expected was {planned[0]:.6f} s"
            if len(shown) == len(planned)
            else f"its frames are shown from {shown[0]:.6f} s on, at times that the source does not have"
        )
        return
    real = shown - moved
    off = np.abs(real - (planned if len(real) == len(planned) else planned[_nearest(planned, real)]))
    if float(off.max()) > allowed:
        worst = int(off.argmax())
        yield f"frame {worst} is shown at {shown[worst]:.6f} s, which is {off[worst]:.6f} s off"


def _seconds(times: npt.NDArray[np.int64], base: tuple[int, int]) -> Seconds:
    return times.astype(np.float64) * float(Fraction(*base))


def _moved(shown: Seconds, planned: Seconds, expected: Expectation, allowed: float) -> float | None:
    """Return the seconds by which the whole film may be later: what lies before 0, and a transport stream's lead."""
    late = float(shown[0] - planned[0])
    early = max(0.0, -expected.earliest)
    if expected.container == "mpegts" and -allowed <= late <= LATEST_START + early:
        return late
    for move in (0.0, early):
        if abs(late - move) <= allowed + (float(Fraction(*expected.base)) if move else 0.0):
            return late if move else 0.0
    if len(shown) == len(planned):
        return None
    for move in (0.0, early):  # the first frames are missing
        if abs(float(planned[_nearest(planned, shown[:1] - move)][0]) + move - float(shown[0])) <= allowed:
            return move
    return None


def _nearest(planned: Seconds, times: Seconds) -> npt.NDArray[np.intp]:
    right = np.clip(np.searchsorted(planned, times), 1, max(1, len(planned) - 1))
    left = right - 1
    right = np.minimum(right, len(planned) - 1)
    return np.where(np.abs(planned[left] - times) <= np.abs(planned[right] - times), left, right)


def _copy(wanted: ExpectedStream, stream: ReadStream, whole: bool) -> Iterator[str]:
    if wanted.kind == "cover" and stream.payload != wanted.payload:
        yield f"{wanted.words} is another picture in the result"
    if wanted.packets and not stream.packets:
        yield f"{wanted.words} has no packets in the result, in the source {wanted.packets}"
        return
    heard = wanted.heard
    if heard is None:
        return
    for kind, unit, mine, theirs in (
        ("audio", "samples", stream.samples, heard.samples),
        ("video", "frames", stream.frames, heard.frames),
    ):
        few = wanted.fewer and mine <= theirs
        if stream.kind == kind and whole and mine != theirs and not few:
            yield f"{wanted.words} gives {mine} {unit} in the result, {theirs} in the source"
    if stream.complained > heard.complained:
        first = stream.complaints[-1][1]
        yield (
            f"{wanted.words} decodes with {stream.complained} complaints, in the source with {heard.complained}; the last: {first}"
        )


def _chapters(reading: ResultReading, expected: Expectation) -> Iterator[str]:
    """Yield chapters that are missing. Several that start together are one in some containers."""
    left = [chapter.start for chapter in reading.chapters]
    for chapter in expected.chapters:
        near = [abs(start - chapter.start) for start in left]
        moved = [abs(start - chapter.start + expected.earliest) for start in left] if expected.earliest < 0 else near
        if min([*near, *moved], default=1.0) > CHAPTER_OFF:
            yield f"the chapter {chapter.title!r} at {chapter.start:.3f} s is missing"


def _named(stream: ReadStream) -> str:
    return f"stream {stream.index} of the result ({stream.kind}, {stream.codec or 'unknown'})"
