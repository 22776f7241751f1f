"""Invariants that every restored film must share with its source.

Everything here looks at two files only, so the same checks run over the local harness and over the whole system.
"""

from __future__ import annotations

import io
import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

import av
import av.error
import numpy as np

from media.codecs import choose_pix_fmt, plain_name
from media.demuxing import hidden_sound
from media.disc_sectors import without_sectors
from orchestrator.ingest.film_choice import programs_of

COVER = 1 << 10
TICK = {"matroska,webm": Fraction(1, 2000), "mpegts": Fraction(1, 90000)}
"""Half a tick of containers with a coarse clock, in seconds; mp4 and mov are exact."""


@dataclass
class Picture:
    """One decoded frame: its time in seconds (None: the source has none) and a checksum of its samples."""

    time: Fraction | None
    crc: int
    size: tuple[int, int]
    corrupt: bool


@dataclass
class Track:
    """One stream that is not the film: payloads and times."""

    kind: str
    codec: str
    language: str
    disposition: int
    crcs: list[int] = field(default_factory=list)
    times: list[Fraction | None] = field(default_factory=list)


def film_of(container: av.container.InputContainer) -> av.VideoStream:
    """Return the largest picture that is no cover, of equal ones the first."""
    pictures = [s for s in container.streams.video if not int(s.disposition) & COVER]
    return max(pictures, key=lambda s: (s.codec_context.width * s.codec_context.height, -s.index))


def pictures(data: bytes, as_format: str | None = None) -> Iterator[Picture]:
    """Decode sequentially with one thread, as a careful player does; an error skips one packet, never the rest."""
    with av.open(without_sectors(io.BytesIO(data)), "r", metadata_errors="replace") as container:
        stream = film_of(container)
        context = stream.codec_context
        context.thread_count = 1
        context.thread_type = "NONE"
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                packet = None
            if packet is not None and packet.size == 0 and packet.pts is not None:
                continue
            last = packet is None or packet.size == 0
            try:
                frames = context.decode(None if last else packet)
            except av.error.FFmpegError:
                frames = []
            for frame in frames:
                time = None if frame.pts is None or stream.time_base is None else frame.pts * stream.time_base
                yield Picture(time, checksum(frame, as_format), (frame.width, frame.height), frame.is_corrupt)
            if last:
                return


def checksum(frame: av.VideoFrame, as_format: str | None = None) -> int:
    """CRC of the visible samples, in the plain planar format or `as_format` (converted without scaling)."""
    wanted = as_format or plain_name(frame.format.name)
    wanted = "rgb24" if wanted == "pal8" else wanted
    wanted = {"bgr0": "rgb24", "gbrp": "rgb24"}.get(wanted, wanted)  # the fourth byte of bgr0 means nothing
    if frame.format.name != wanted:
        spread = 2 if frame.format.name.startswith("yuvj") else frame.color_range
        frame = frame.reformat(format=wanted, src_color_range=spread, dst_color_range=spread)
    crc = 0
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        width = plane.width * max(1, _bytes_per_sample(frame.format))
        crc = zlib.crc32(np.ascontiguousarray(rows[:, :width]).tobytes(), crc)
    return crc


def _bytes_per_sample(form: av.VideoFormat) -> int:
    if len(form.components) > 1 and not form.is_planar:
        return {"bgr0": 4, "bgra": 4, "rgb24": 3, "rgb48le": 6, "rgba64le": 8, "ya8": 2}.get(form.name, 4)
    return 2 if form.components[0].bits > 8 else 1


def tracks(data: bytes) -> tuple[list[Track], dict[str, object]]:
    """All other streams, and what belongs to the container."""
    with av.open(without_sectors(io.BytesIO(data)), "r", metadata_errors="replace") as container:
        film = film_of(container)
        found: dict[int, Track] = {}
        programs = programs_of(container)
        own = programs.get(film.index)
        for s in container.streams:
            if s.index != film.index and programs.get(s.index, own) == own:
                name = s.codec_context.name if s.codec_context else (s.name or "")
                found[s.index] = Track(s.type, name, s.metadata.get("language", "und"), int(s.disposition))
                if s.type == "attachment":
                    found[s.index].crcs.append(zlib.crc32(cast(Any, s).data))  # the stubs know no attachments
        packets = container.demux()
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                break
            if packet is None:
                break
            if packet.size and packet.stream_index in found and not hidden_sound(packet):
                track = found[packet.stream_index]
                track.crcs.append(zlib.crc32(_without_adts(track.codec, bytes(packet))))
                track.times.append(
                    None if packet.pts is None or packet.time_base is None else packet.pts * packet.time_base
                )
        context = film.codec_context
        facts: dict[str, object] = {
            "format": container.format.name,
            "chapters": [
                (
                    float(c["start"] * (c["time_base"] or 1)),
                    float(c["end"] * (c["time_base"] or 1)),
                    c["metadata"].get("title"),
                )
                for c in container.chapters()
            ],
            "tags": {k.lower(): v for k, v in container.metadata.items()},
            "sar": film.sample_aspect_ratio or Fraction(1),
            "colour": tuple(
                int(v) for v in (context.color_range, context.color_primaries, context.color_trc, context.colorspace)
            ),
            "fields": context.field_order,
            "language": film.metadata.get("language", "und"),
            "disposition": int(film.disposition),
            "rotation": _rotation(data),
        }
    return list(found.values()), facts


def _without_adts(codec: str, data: bytes) -> bytes:
    """Return an AAC frame without the header that transport streams add and other containers take off."""
    if codec != "aac" or len(data) < 7 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0:
        return data
    return data[7 if data[1] & 1 else 9 :]


def _rotation(data: bytes) -> int:
    with av.open(without_sectors(io.BytesIO(data)), "r", metadata_errors="replace") as container:
        try:
            for frame in container.decode(film_of(container)):
                return frame.rotation
        except av.error.FFmpegError:
            pass
    return 0


@dataclass
class Verdict:
    """Result of a comparison; empty `problems` means that everything compared is exact."""

    frames: int = 0
    problems: list[str] = field(default_factory=list)
    timing: str = "exact"
    streams: str = ""


def compare(source: bytes, result: bytes, lossless: bool, codec: str = "ffv1", joined: bool = False) -> Verdict:
    """Compare `result` with `source`.

    With `lossless`, samples must be equal too. With `joined`, the source's clock falls back: times must move, but
    picture and sound by the same amount.
    """
    verdict = Verdict()
    with av.open(io.BytesIO(source), "r", metadata_errors="replace") as container:
        pix_fmt = film_of(container).codec_context.pix_fmt or ""
    form = choose_pix_fmt(codec, pix_fmt, None)[0] if lossless else None  # type: ignore[arg-type]
    before, after = list(pictures(source, form)), list(pictures(result, form))
    verdict.frames = len(after)
    if len(before) != len(after):
        verdict.problems.append(f"{len(after)} frames instead of {len(before)}")
    if lossless:
        wrong = [i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a.crc != b.crc]
        if wrong:
            verdict.problems.append(f"{len(wrong)} frames differ, the first is {wrong[0]}")
    shown = [p.time for p in after if p.time is not None]
    if len(set(shown)) != len(shown):
        verdict.problems.append(f"{len(shown) - len(set(shown))} frames share the time of another")
    if any(p.corrupt for p in after):
        verdict.problems.append("the result decodes with errors")
    others, facts = tracks(source)
    copies, new = tracks(result)
    late = Fraction(0)
    if joined:
        verdict.timing = _moved_together(before, after, others, copies, verdict.problems)
        for track in (*others, *copies):
            track.times.clear()
    else:
        verdict.timing, late = _times(before, after, str(new["format"]), verdict.problems)
    _streams(others, copies, late, str(new["format"]).startswith(("mov", "mpegts")), verdict)
    for name in ("chapters", "sar", "colour", "fields", "language", "disposition", "rotation"):
        if not _alike(name, facts[name], new[name]):
            verdict.problems.append(f"{name} was {facts[name]} and is {new[name]}")
    own = {"encoder", "major_brand", "minor_version", "compatible_brands", "creation_time", "duration"}
    lost = {k: v for k, v in facts["tags"].items() if k not in own and new["tags"].get(k) != v}  # type: ignore[attr-defined]
    if lost:
        verdict.problems.append(f"tags are lost: {lost}")
    return verdict


def _alike(name: str, old: object, new: object) -> bool:
    if name == "colour":
        # Unspecified may become explicit (a container's default), never another meaning.
        old = (0 if old[0] == 1 else old[0], *old[1:])  # type: ignore[index]  # limited is what nobody says
        return all(a == b or a in (0, 2) for a, b in zip(old, new, strict=True))  # type: ignore[call-overload]
    if name == "fields":  # nobody said, or progressive, are the same to a player
        return bool(old == new) or {old, new} <= {0, 1}
    if name == "chapters":
        return len(old) == len(new) and all(  # type: ignore[arg-type]
            abs(a[0] - b[0]) < 2e-3 and abs(a[1] - b[1]) < 2e-3 and a[2] == b[2]
            for a, b in zip(old, new, strict=True)  # type: ignore[call-overload]
        )
    if name == "disposition":
        return bool(int(old) & ~1 == int(new) & ~1)  # type: ignore[call-overload]  # mp4 calls its first track the default
    if name == "language":
        return bool(old == new) or {old, new} == {"und", "eng"}
    return bool(old == new)


def _times(before: list[Picture], after: list[Picture], form: str, problems: list[str]) -> tuple[str, Fraction]:
    """Compare the times; return a description and by how much the result starts later."""
    planned = [a.time for a in before]
    if None not in planned:
        planned = sorted(planned)  # type: ignore[type-var]
    pairs = [(a, b.time) for a, b in zip(planned, after, strict=False) if a is not None and b.time is not None]
    late = Fraction(0)
    if form == "mpegts" and pairs:  # a transport stream has no times before 0 and may start later as a whole
        late = pairs[0][1] - pairs[0][0]
        pairs = [(a, b - late) for a, b in pairs]
    if not pairs:
        return "none in the source", late
    worst = max(abs(a - b) for a, b in pairs)
    if worst > TICK.get(form, Fraction(0)):
        problems.append(f"times are off by up to {float(worst) * 1000:.3f} ms")
    return "exact" if not worst else f"within {float(worst) * 1000:.2f} ms", late


def _moved_together(
    before: list[Picture], after: list[Picture], old: list[Track], new: list[Track], problems: list[str]
) -> str:
    """Check that each part of a film with a repaired clock moved as a whole, sound by the same amount as pictures."""
    times = [p.time for p in after if p.time is not None]
    if any(b <= a for a, b in itertools.pairwise(times)):
        problems.append("times do not rise")
    moves = {
        round(float(b.time - a.time), 2)
        for a, b in zip(before, after, strict=False)
        if a.time is not None and b.time is not None
    }
    for a, b in zip(old, new, strict=False):
        heard = {
            round(float(y - x), 2) for x, y in zip(a.times, b.times, strict=False) if x is not None and y is not None
        }
        if heard - moves:
            problems.append(f"{a.codec} is moved by {sorted(heard)} s and the film by {sorted(moves)} s")
    return f"joined, parts moved by {', '.join(f'{m:.2f}' for m in sorted(moves))} s"


def _streams(old: list[Track], new: list[Track], late: Fraction, first_is_default: bool, verdict: Verdict) -> None:
    verdict.streams = ", ".join(t.codec or t.kind for t in new) or "none"
    wanted = [t for t in old if t.kind not in ("data", "unknown")]
    if len(wanted) != len([t for t in new if t.kind not in ("data", "unknown")]):
        verdict.problems.append(f"{len(new)} other streams instead of {len(wanted)}")
        return
    for i, (a, b) in enumerate(zip(wanted, [t for t in new if t.kind not in ("data", "unknown")], strict=True)):
        if a.crcs != b.crcs:
            verdict.problems.append(
                f"payloads of {a.codec or a.kind} stream {i} differ ({len(a.crcs)}, {len(b.crcs)} packets)"
            )
        if a.language != b.language and a.language != "und":
            verdict.problems.append(f"stream {i} was {a.language} and is {b.language}")
        ignored = (
            1 if first_is_default else 0
        )  # mp4 and mov call the first track of a kind the default, transport streams none
        if a.disposition & ~ignored != b.disposition & ~ignored:
            verdict.problems.append(f"stream {i} had disposition {a.disposition} and has {b.disposition}")
        pairs = [(x, y - late) for x, y in zip(a.times, b.times, strict=False) if x is not None and y is not None]
        if pairs and max(abs(x - y) for x, y in pairs) > Fraction(1, 1000):
            worst = float(max(abs(x - y) for x, y in pairs))
            verdict.problems.append(f"stream {i} is out of sync by {worst * 1000:.2f} ms")
