"""Capabilities of containers, checked before any work starts."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import av
import av.error
import msgspec

from contract.errors import Unsupported, UsageError
from contract.job import OnUnheld
from contract.severity import Loss
from media import nvenc
from media.codecs import CONTAINERS, SUFFIXES
from media.copied_streams import add_copied, codec_name, name_layout, speakers, write_on_trial
from media.opening import reason
from media.unheld import CAPTION_TRACKS, beside, lossless_encoder

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream

    from contract.film import SourceStream
    from contract.job import Codec, Item, Spec
    from media.sound_configuration import SoundConfigurations

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
"""Codecs that a transport stream can name; FFmpeg would mux others as private data that no player reads."""
_WEBM = frozenset(["vp8", "vp9", "av1", "libdav1d", "opus", "libopus", "vorbis", "libvorbis", "webvtt"])
_FILM: dict[str, tuple[Codec, ...]] = {
    "mp4": ("x264", "x265", "svtav1", "vp9", *nvenc.ENCODERS),
    "mov": ("x264", "x265", "prores", "h264_nvenc", "hevc_nvenc"),
    "matroska": ("x264", "x265", "svtav1", "vp9", "ffv1", "prores", *nvenc.ENCODERS),
    "webm": ("svtav1", "vp9", "av1_nvenc"),
    "mpegts": ("x264", "x265", "h264_nvenc", "hevc_nvenc"),
}
_CHOICES = ("matroska", "mov", "mp4", "mpegts")
"""Containers that are proposed, in this order."""
WAYS: tuple[OnUnheld, ...] = ("convert", "sidecar", "drop")
"""Values of --on-unheld beside refuse, the one that loses least first."""
COVERS: dict[str, frozenset[str] | None] = {
    "matroska": None, "mp4": frozenset(("mjpeg", "png", "bmp")), "mov": frozenset(), "mpegts": frozenset(), "webm": frozenset(),
}  # fmt: skip
"""Codecs of covers by muxer, None for all: Matroska attaches the file, and FFmpeg's muxer of mov leaves covers out without a word."""
AS_TAG = "is carried as a tag"
"""Words for a time code whose stream the result does not have."""
WHOLE_FRAMES = frozenset(("mp4", "mov"))
"""Muxers that read the header of each frame of AC-3 and E-AC-3."""
_STAND_IN = {"webm": "vp9"}
"""Film codec for a trial header by container, by default mpeg4: it needs no headers of its own."""


@dataclass(frozen=True)
class Choice:
    """The chosen container, the source's streams with the decision on each, and notes for the user."""

    container: str
    streams: tuple[SourceStream, ...]
    notes: list[str]


@dataclass(frozen=True)
class Holding:
    """The question what can hold a film with all that belongs to it. `turned`: it is to be shown rotated or mirrored."""

    source: InputContainer
    streams: tuple[SourceStream, ...]
    film: int
    codec: Codec
    turned: bool
    what: str
    changing: Mapping[int, SoundConfigurations] = field(default_factory=dict)
    """Streams of sound whose configuration changes in the middle."""
    broken: Mapping[int, int] = field(default_factory=dict)
    """Packets without a valid header of streams of AC-3 and E-AC-3, which the muxer of mp4 and mov refuses."""
    heads: Mapping[int, tuple[bytes, ...]] = field(default_factory=dict)
    """The first packets of streams of sound."""
    dropped: Mapping[int, str] = field(default_factory=dict)
    """Streams that do not belong to the film, with the reason."""
    on_unheld: OnUnheld = "refuse"

    def choose(self, item: Item, spec: Spec) -> Choice:
        """Choose the container that the spec or the result's name asks for, if it holds everything.

        Without a request (the result has the source's name), choose another one and note it. Data streams that no film
        container knows are left out with a note. Raises Unsupported, proposing a container by name.
        """
        wanted, asked = asked_container(item, spec)
        problem = self._problem(wanted)
        notes: list[str] = []
        if problem is not None:
            able = [c for c in _CHOICES if c != wanted and self._problem(c) is None]
            if asked or not able:
                raise Unsupported(f"{problem}; {self._advice(wanted, able)}.")
            notes.append(f"the result of {self.what} is .{SUFFIXES[able[0]]}: {problem}")
            wanted = able[0]
        kept = []
        for known in self.streams:
            unwanted = known.index in self.dropped
            if self._needed(known) and not self._holds(wanted, known):
                fate = self._otherwise(wanted, known)
                assert fate is not None  # else the container had a problem
                notes.append(Loss(fate.note) if not fate.copied and fate.sidecar is None else fate.note)
                kept.append(fate)
                continue
            if known.index == self.film or self._needed(known) or (not unwanted and self._holds(wanted, known)):
                kept.append(known)
                continue
            note = (
                f"stream {known.index} of {self.what} ({known.kind}, {known.codec}) is left behind: {self._why(known)}"
            )
            notes.append(note if self._elsewhere(known) else Loss(note))
            kept.append(msgspec.structs.replace(known, copied=False, note=note))
        return Choice(wanted, tuple(kept), notes)

    def _advice(self, container: str, able: list[str]) -> str:
        """Name a container, a codec and a container, or an option that helps."""
        ways = [way for way in WAYS if dataclasses.replace(self, on_unheld=way)._problem(container) is None]
        option = f"pass --on-unheld {' or '.join(ways)}" if ways else ""
        if able:
            return f"name the result .{SUFFIXES[able[0]]}{f', or {option}' if option else ''}"
        for codec in sorted(_FILM["matroska"] + _FILM["mov"], key=lambda c: c != "x264"):
            other = dataclasses.replace(self, codec=codec)
            found = next((c for c in _CHOICES if other._problem(c) is None), None)
            if found is not None:
                return f"use --codec {codec} and name the result .{SUFFIXES[found]}{f', or {option}' if option else ''}"
        if option:
            return f"no container that is written here holds it, but you can {option}"
        return "no container that is written here holds it with any codec; take that stream out first"

    def _otherwise(self, container: str, known: SourceStream) -> SourceStream | None:
        """Return a stream that `container` cannot hold with what --on-unheld makes of it, None where that does not help."""
        stream = self.source.streams[known.index]
        name = f"stream {known.index} of {self.what} ({known.kind}, {known.codec}), which {SUFFIXES[container]} cannot hold,"
        if self.on_unheld == "convert" and known.index not in self.changing:
            encoder = lossless_encoder(container, stream)
            if encoder:
                note = f"{name} is converted to {encoder}"
                return msgspec.structs.replace(known, converted=encoder, note=note)
        if self.on_unheld == "sidecar":
            file = beside(stream, self.changing.get(known.index))
            if file is not None:
                files = f".stream{known.index}.{file[1]}"
                if known.codec in CAPTION_TRACKS:
                    files += f", and field 1 as .stream{known.index}.scc"
                note = f"{name} is in a file beside the result ({files})"
                return msgspec.structs.replace(known, copied=False, sidecar=file, note=note)
        if self.on_unheld == "drop" and known.kind in ("audio", "subtitle", "cover", "attachment"):
            return msgspec.structs.replace(
                known, copied=False, note=f"{name} is left out, as --on-unheld drop asks for"
            )
        return None

    def _needed(self, known: SourceStream) -> bool:
        return known.index != self.film and known.kind not in ("data", "other") and known.index not in self.dropped

    def _problem(self, container: str) -> str | None:
        """Describe what `container` cannot hold, in half a sentence."""
        suffix = SUFFIXES[container]
        if self.codec not in _FILM[container]:
            return f"a film encoded with {self.codec} is what {suffix} cannot hold"
        for known in self.streams:
            if self._needed(known) and not self._holds(container, known) and self._otherwise(container, known) is None:
                which = self._peculiarity(container, known)
                return (
                    f"{self.what} has {_article(known.kind)} stream ({known.codec}){which}, which {suffix} cannot hold"
                )
        if container == "mpegts" and self.source.chapters():
            return f"{self.what} has chapters, which {suffix} cannot hold"
        if self.turned and container in ("mpegts", "webm"):
            return f"{self.what} is to be shown rotated, which {suffix} cannot say"
        return self._trial_problem(container)

    def _peculiarity(self, container: str, known: SourceStream) -> str:
        """Return why `container` cannot hold a stream whose codec it could hold, as a clause; "" where that is not why."""
        sound = self.changing.get(known.index)
        if sound and not sound.held_by(container):
            return f", whose configuration {sound.summary}"
        if self.broken.get(known.index) and container in WHOLE_FRAMES:
            return f", {self.broken[known.index]} of whose packets have no valid header"
        return ""

    def _why(self, known: SourceStream) -> str:
        if known.index in self.dropped:
            return self.dropped[known.index]
        return self._elsewhere(known) or "the container has no place for it"

    def _elsewhere(self, known: SourceStream) -> str:
        """Return how the result has what a stream holds without that stream; empty when it has not."""
        stream = self.source.streams[known.index]
        if known.index in self.dropped:
            return ""
        if "timecode" in stream.metadata:
            return f"its time code {stream.metadata['timecode']} {AS_TAG}"
        if known.codec == "bin_data" and self.source.chapters() and self.source.format.name.startswith("mov,"):
            return "chapters are carried by the container itself"
        return ""

    def _holds(self, container: str, known: SourceStream) -> bool:
        """Return True if `container` can hold a stream; every cover becomes an attachment in Matroska."""
        if self._peculiarity(container, known):
            return False
        if known.kind == "cover" and container in COVERS:
            kinds = COVERS[container]
            return kinds is None or known.codec in kinds
        return can_hold(container, self.source.streams[known.index])

    def _trial_problem(self, container: str) -> str | None:
        """Write the result's header and first sound to nowhere: some muxers only then report what they cannot hold."""
        sound: list[tuple[Stream, tuple[bytes, ...]]] = []
        try:
            with av.open(io.BytesIO(), "w", format=container) as probe:
                for known in self.streams:
                    original = self.source.streams[known.index]
                    if known.index == self.film:
                        probe.add_mux_stream(_STAND_IN.get(container, "mpeg4"), width=64, height=64, rate=25)
                    elif (
                        self._needed(known)
                        and self._holds(container, known)
                        and not (container == "matroska" and known.kind == "cover")
                    ):
                        heads = self.heads.get(known.index, ())
                        stream = add_copied(probe, known, original, heads)
                        stream.disposition = original.disposition
                        name_layout(stream, container)
                        if heads:
                            sound.append((stream, heads))
                probe.start_encoding()
                for stream, heads in sound:
                    write_on_trial(probe, stream, heads)
        except (ValueError, av.error.FFmpegError) as error:
            return f"{SUFFIXES[container]} cannot hold the streams of {self.what} ({reason(error)})"
        return None


def asked_container(item: Item, spec: Spec) -> tuple[str, bool]:
    """Return the result's muxer, and True if the user asked for it.

    It is the spec's, else the one of the result's suffix, else Matroska. The suffix of a result that has its source's name
    is not a request.
    """
    suffix = (spec.container or item.result.rpartition(".")[2]).lower()
    asked = spec.container is not None or item.result != item.name
    if suffix in CONTAINERS:
        return CONTAINERS[suffix], asked
    if spec.container:
        known = ", ".join(sorted(CONTAINERS))
        raise UsageError(f"--container {spec.container!r} is not one that can be written; choose one of {known}.")
    return "matroska", False


def can_hold(container: str, stream: Stream) -> bool:
    """Return True if FFmpeg's muxer `container` can hold `stream` unchanged."""
    name = codec_name(stream)
    if stream.type == "attachment":
        return container == "matroska"
    if stream.type not in ("video", "audio", "subtitle", "data"):
        return False
    if stream.type == "data" and container != "mpegts":
        return False
    if (container == "mpegts" and name not in _MPEGTS) or (container == "webm" and name not in _WEBM):
        return False
    if container == "mp4" and name.startswith("pcm_") and speakers(stream) > 2:
        return False
    with av.open(io.BytesIO(), "w", format=container) as probe:
        try:
            probe.add_stream_from_template(stream, opaque=True)
        except (ValueError, av.error.FFmpegError):
            return False
    return True


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
