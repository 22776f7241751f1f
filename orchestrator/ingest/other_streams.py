"""The streams beside the film, as a survey reads them: their summaries, names, damage, and what a piece has of them."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec

from contract.severity import Loss
from media.containers import AS_TAG, Choice
from media.dolby_frames import DOLBY, DolbyFrames
from media.sound_configuration import SoundConfigurations
from orchestrator.ingest.packets import Tally

if TYPE_CHECKING:
    from av.container import InputContainer

    from contract.film import SourceStream
    from media.piece import Window

MISSED = 0.06
"""Seconds of sound at the beginning of a piece whose lack is a loss; packets of AAC, AC-3 and Opus are shorter."""

TimeCodeTrack = tuple[int, str, tuple[tuple[float, int], ...]]
"""A track of time code: stream, first in words, samples as (seconds, frame number)."""


def time_codes(container: InputContainer, tallies: dict[int, Tally]) -> tuple[TimeCodeTrack, ...]:
    """Return the tracks of time code that were read."""
    return tuple(
        (n, container.streams[n].metadata["timecode"], tuple(t.time_code))
        for n, t in tallies.items()
        if t.time_code is not None
    )


def tallies_for(
    container: InputContainer, found: tuple[SourceStream, ...], film: int, window: Window | None
) -> dict[int, Tally]:
    """Return empty summaries of all streams with packets beside the film, by stream."""
    others = [s for s in found if s.kind != "attachment" and s.index != film]
    return {s.index: _tally(container, s, window) for s in others}


def _tally(container: InputContainer, known: SourceStream, window: Window | None) -> Tally:
    if known.kind == "data" and "timecode" in container.streams[known.index].metadata:
        return Tally(time_code=[], window=window)
    if known.kind != "audio":
        return Tally(window=window)
    context = container.streams[known.index].codec_context
    return Tally(
        sound=SoundConfigurations(known.codec, (context.extradata if context else None) or b""),
        dolby=DolbyFrames() if known.codec in DOLBY else None,
        window=window,
    )


def truly_named(
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


def counted(known: SourceStream, tallies: dict[int, Tally]) -> SourceStream:
    """Return a stream with what was counted of it."""
    tally = tallies.get(known.index, Tally())
    return msgspec.structs.replace(known, packets=tally.packets, size=tally.size, crc=tally.crc, start=tally.start)


def hidden(tallies: dict[int, Tally], what: str) -> list[str]:
    """Say what edit lists hide of sound."""
    return [
        Loss(
            f"{t.hidden} packets of stream {n} of {what} lie before the start that its edit list sets (up to {t.hidden_s:.3f} s); "
            "they are left out"
        )
        for n, t in tallies.items()
        if t.hidden
    ]


def cut_notes(
    streams: tuple[SourceStream, ...], tallies: dict[int, Tally], window: Window | None, what: str
) -> list[str]:
    """Say what edit lists hide of sound, or what a piece cannot have exactly: sound is copied in whole packets."""
    said = hidden(tallies, what) if window is None or window.start is None else []
    if window is None:
        return said
    for known in streams:
        tally = tallies.get(known.index)
        if tally is None or not (known.copied or known.sidecar):
            continue
        late = tally.start - float(window.start or 0)
        if known.kind == "audio" and not tally.packets:
            said.append(f"stream {known.index} of {what} has no sound in the piece")
        elif known.kind == "audio" and tally.cut and late > 0:
            note = (
                f"sound of stream {known.index} of {what} begins {late:.4f} s after the first picture of the piece, since it is "
                "copied in whole packets"
            )
            said.append(Loss(note) if late > MISSED else note)
        elif tally.unclear:
            said.append(
                f"a subtitle of stream {known.index} of {what} that is shown when the piece begins is not in it: it does not "
                "say how long it is shown"
            )
    return said


def wounds(
    container: InputContainer, found: tuple[SourceStream, ...], tallies: dict[int, Tally]
) -> list[tuple[float, str]]:
    """Return damage that the container marks in other streams, each with its first seconds."""
    wounds = []
    for s in found:
        tally = tallies.get(s.index, Tally())
        base = container.streams[s.index].time_base or Fraction(0)
        marked = [t for t in tally.incomplete if tally.window is None or tally.window.covers(t * base)]
        if marked:
            first = float(min(marked) * base)
            count = f"{len(marked)} packets of stream {s.index} ({s.kind}, {s.codec})"
            wounds.append(
                (first, f"the container marks {count} as incomplete, the first here; they are copied as they are")
            )
    return wounds


def in_window(choice: Choice, film: int, window: Window | None, what: str) -> Choice:
    """Return the streams of a piece with their notes: without another picture, which is decoded from its own key frames."""
    if window is None:
        return choice
    kept: list[SourceStream] = []
    notes = [type(note)(note.replace(AS_TAG, f"{AS_TAG}, as it runs on in the piece")) for note in choice.notes]
    for known in choice.streams:
        if known.kind == "video" and known.copied and known.index != film:
            note = (
                f"stream {known.index} of {what} ({known.kind}, {known.codec}) is left behind: a piece begins at no key frame "
                "of another picture"
            )
            notes.append(Loss(note))
            known = msgspec.structs.replace(known, copied=False, note=note)
        kept.append(known)
    return Choice(choice.container, tuple(kept), notes)
