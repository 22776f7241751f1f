"""Cutting by decoding: the whole source is decoded once, in sequence, and written as FFV1 runs.

For sources whose packets do not tell where to cut or in which order frames are shown. It is bit-exact for every source
that decodes, but costs ten times as much as cutting packets.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import PictureType

from contract.errors import BadInput, SourceChanged
from contract.film import FilmChunk, FilmIndex, Span
from contract.job import Spec
from contract.packets import KEY, MARKED, RunHeader, RunOwner, RunPacket, write_run
from media.codecs import choose_pix_fmt, encoder_options, same_samples
from media.decoding import SequentialDecoder, spans, with_dependants
from media.opening import open_media

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from media.frame_changes import FrameChanges

RAW_BYTES = 96 << 20
"""Uncompressed bytes of a chunk: its FFV1 run, about half, is held in memory while it is written."""
JITTER = 16
"""Frames by which a timestamp may be out of place before it counts as a restart of the clock (H.264's largest reordering)."""

Column = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Decoded:
    """Result of a full decode: `pts` (time base units) and durations of each frame, changes of size, damage."""

    pts: Column
    durations: Column
    turns: tuple[int, ...]
    """Positions at which size or pixel format change."""
    joins: tuple[tuple[int, int], ...]
    damage: tuple[Span, ...]
    mended: int
    """Frames whose time had to be made up."""


def decode_all(
    container: InputContainer,
    stream: VideoStream,
    step: int,
    odd: FrameChanges,
    what: str,
    checkpoint: Callable[[], None],
) -> Decoded:
    """Decode everything once, past `odd`; call `checkpoint` at each packet. Raises BadInput when no frame comes out."""
    times: list[int | None] = []
    durations, packets = [], []
    turns: list[int] = []
    keys: list[bool] = []
    shape: tuple[int, int, str] | None = None
    decoder = SequentialDecoder(container, stream, checkpoint=checkpoint)
    for packet, frame in decoder:
        look = (frame.width, frame.height, frame.format.name)
        if shape is not None and look != shape:
            turns.append(len(times))
        shape = look
        times.append(frame.pts)
        odd.see(len(times) - 1, frame)
        durations.append(int(frame.duration or 0))
        packets.append(packet)
        keys.append(frame.key_frame and frame.pict_type not in (PictureType.P, PictureType.B))
    if not times:
        raise BadInput(f"{what} holds no picture that can be decoded; check the file.")
    pts, joins, mended = mend_times(times, packets, step)
    damage = damaged_frames(packets, keys, decoder.trouble)
    if decoder.broken:
        damage.append(Span(len(times) - 1, 0, f"the file breaks off here ({decoder.broken[0]})"))
    return Decoded(pts, np.array(durations, dtype=np.int64), tuple(turns), joins, tuple(damage), mended)


def damaged_frames(packets: Sequence[int], keys: Sequence[bool], trouble: Mapping[int, str]) -> list[Span]:
    """Return the damage of a decode: frames from the packets in `trouble`, and those that are decoded from them.

    `packets` has each frame's packet, and `keys` the decoder's own view of key frames, in output order. The container's marks
    count for nothing here: false ones are a reason to decode the whole source. A packet without a frame damages the
    frame of the next packet.
    """
    frames = dict(zip(packets, enumerate(keys), strict=True))
    followed = sorted(frames)
    order: list[tuple[int, bool]] = []
    reasons: dict[int, str] = {}
    for packet in sorted(frames.keys() | trouble.keys()):
        later = bisect_left(followed, packet)
        position, key = frames[followed[later]] if later < len(followed) else (len(packets) - 1, False)
        order.append((position, key and packet in frames))
        if packet in trouble:
            reasons.setdefault(position, trouble[packet])
    return spans(with_dependants(order, reasons))


def mend_times(
    times: list[int | None], packets: list[int], step: int
) -> tuple[Column, tuple[tuple[int, int], ...], int]:
    """Make ascending times for frames in output order from their packets' times.

    Times that are merely exchanged among neighbours (AVI stores decode times) are sorted. Missing, repeated and misplaced
    ones are interpolated between ascending ones, and extrapolated by `step` before and after them. Where the clock falls
    back by more than JITTER frames, it continues from there. Returns times, the joins (packet id, shift) and the number of
    interpolated times.
    """
    if all(t is None for t in times):
        return np.arange(len(times), dtype=np.int64) * step, (), len(times)
    starts, highest = [0], None
    for i, time in enumerate(times):
        if time is None:
            continue
        if highest is not None and time < highest - JITTER * step:
            starts.append(i)
            highest = time
        highest = time if highest is None else max(highest, time)
    result: list[int] = []
    joins: list[tuple[int, int]] = []
    mended = 0
    for start, stop in zip(starts, [*starts[1:], len(times)], strict=True):
        part = times[start:stop]
        known = [t for t in part if t is not None]
        if len(known) == len(part) and len(set(known)) == len(known):
            part = [*sorted(known)]
        kept = rising(part)
        mended += len(part) - len(kept)
        own = np.interp(np.arange(len(part)), list(kept), list(kept.values()))
        low, high = min(kept), max(kept)
        own[:low] = own[low] - step * np.arange(low, 0, -1)
        own[high + 1 :] = own[high] + step * np.arange(1, len(part) - high)
        shift = result[-1] + step - int(known[0]) if result else 0
        if start:
            joins.append((packets[start], shift))
        for time in np.rint(own).astype(np.int64).tolist():
            result.append(max(time + shift, result[-1] + 1) if result else time)
    return np.array(result, dtype=np.int64), tuple(joins), mended


def rising(times: list[int | None]) -> dict[int, int]:
    """Return index and time of a longest ascending subsequence of `times`; the others are out of place.

    Of equal times the first counts.
    """
    ends: list[int] = []  # the lowest time at which a run of each length can end
    last: list[int] = []  # and the index at which it does
    before: dict[int, int] = {}
    for i, time in enumerate(times):
        if time is None:
            continue
        length = bisect_left(ends, time)
        if length < len(ends) and ends[length] == time:
            continue
        if length:
            before[i] = last[length - 1]
        ends[length : length + 1], last[length : length + 1] = [time], [i]
    found = []
    at: int | None = last[-1]
    while at is not None:
        found.append((at, times[at] or 0))
        at = before.get(at)
    return dict(reversed(found))


def lossless_chunks(
    frames: int, frame_bytes: int, target: int, turns: tuple[int, ...], context: int
) -> list[FilmChunk]:
    """Plan chunks of at most `target` frames and RAW_BYTES, none across a change of size."""
    size = max(1, min(target, RAW_BYTES // frame_bytes))
    chunks = []
    bounds = [0, *turns, frames]
    for low, high in pairwise(bounds):
        for first in range(low, high, size):
            count = min(size, high - first)
            start, stop = max(low, first - context), min(high, first + count + context)
            chunks.append(FilmChunk(first=first, count=count, start=start, stop=stop))
    return chunks


def cut_lossless(source: BinaryIO, index: FilmIndex, owner: RunOwner | None = None) -> Iterator[bytes]:
    """Yield one FFV1 run per chunk, in order. Raises SourceChanged when the source gives other frames than when indexed."""
    with open_media(source, "the source") as container:
        stream: VideoStream = container.streams[index.stream]  # type: ignore[assignment]
        frames = enumerate(frame for _, frame in SequentialDecoder(container, stream))
        held: list[tuple[int, VideoFrame]] = []
        for chunk in index.chunks:
            held = [h for h in held if h[0] >= chunk.start]
            while not held or held[-1][0] < chunk.stop - 1:
                item = next(frames, None)
                if item is None:
                    raise SourceChanged("the source gives fewer frames than when it was indexed; submit it again.")
                if item[0] >= chunk.start:
                    held.append(item)
            yield b"".join(_run(index, chunk, [h for h in held if h[0] < chunk.stop], owner))


def _run(
    index: FilmIndex, chunk: FilmChunk, frames: list[tuple[int, VideoFrame]], owner: RunOwner | None
) -> Iterator[bytes]:
    first = frames[0][1]
    pix_fmt, _ = choose_pix_fmt("ffv1", first.format.name, None)
    encoder = _encoder(first.width, first.height, pix_fmt)
    packets = []
    for position, frame in frames:
        plain = same_samples(frame, pix_fmt)
        plain.pts = position
        plain.time_base = Fraction(1, 1)
        plain.pict_type = 0
        packets += [RunPacket(int(p.pts or 0), KEY | MARKED, bytes(p)) for p in encoder.encode(plain)]
    packets += [RunPacket(int(p.pts or 0), KEY | MARKED, bytes(p)) for p in encoder.encode(None)]
    header = RunHeader(
        first=chunk.first,
        count=chunk.count,
        frames=index.frames,
        codec="ffv1",
        extradata=encoder.extradata or b"",
        width=first.width,
        height=first.height,
        pix_fmt=pix_fmt,
        colour=index.colour,
        encoding=index.encoding,
        scanning=index.scanning,
        deinterlace=index.deinterlace,
        context=index.context,
        owner=owner,
    )
    return write_run(header, packets)


def _encoder(width: int, height: int, pix_fmt: str) -> VideoCodecContext:
    encoder: VideoCodecContext = av.CodecContext.create("ffv1", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, pix_fmt
    encoder.time_base = Fraction(1, 1)
    encoder.options = encoder_options("ffv1", Spec(model="identity", codec="ffv1"), pix_fmt)
    encoder.open()
    return encoder
