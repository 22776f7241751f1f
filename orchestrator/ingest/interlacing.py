"""Scan type of a film (progressive, interlaced, telecined): its own flags, and FFmpeg's idet over samples of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

import av.error
import numpy as np
from av.codec.context import ThreadType
from av.filter import Graph

from contract.film import Scan, Scanning
from media.columns import unpack
from media.demuxing import only
from media.opening import open_media
from orchestrator.ingest.field_motion import Luma, Votes, vote

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from contract.film import FilmIndex

SPOTS = 4
"""Places of the film that are sampled."""
FRAMES = 30
"""Frames at each: six cycles of a 3:2 pulldown."""
NEVER_INTERLACED = frozenset(
    [
        "vp8", "vp9", "av1", "libdav1d", "gif", "apng", "h261", "h263", "flv", "vp3", "vp5", "vp6", "vp6f", "theora", "svq1",
        "svq3", "cinepak", "msvideo1", "rpza", "smc", "indeo2", "indeo3", "roq", "zmbv", "flashsv", "flashsv2", "tscc", "cscd",
    ]
)  # fmt: skip
"""Codecs without fields. idet takes the block edges of some of them for fields."""
REPEATING = frozenset(("mpeg1video", "mpeg2video"))
"""Codecs that can ask a player to repeat a field."""
FOLLOWED_FROM, FOLLOWED = 4, 8
"""The frames of a place in which motion is followed."""
MIDDLE = (1024, 1280)
"""Lines and columns of a frame in which motion is followed."""
WOVEN = 0.25
"""Share of frames that idet must call interlaced before fields are looked for."""
DOUBT = "no frame is flagged interlaced and the pictures can be read either way"
"""Beginning of the evidence where nothing is decided."""
ENOUGH = 8
"""Frames on which idet must have a verdict before it counts: still pictures have none."""


@dataclass
class Sample:
    """Observations: idet's verdict on each frame, repeated fields, and the frames' own flags."""

    verdicts: Counter[str] = field(default_factory=Counter)
    repeated: Counter[str] = field(default_factory=Counter)
    flagged: int = 0
    frames: int = 0
    moments: list[list[Luma]] = field(default_factory=list)
    """Successive frames from the middle of each place, to follow motion in."""

    def votes(self) -> Votes:
        """Return the votes of moving blocks about the fields."""
        votes = Votes()
        for frames in self.moments:
            vote(frames, votes)
        return votes


def look(
    source: BinaryIO,
    number: int,
    times: list[int],
    what: str,
    checkpoint: Callable[[], None] = lambda: None,
    begins: bool = True,
) -> Sample:
    """Decode FRAMES frames at each of `times` (stream time base) of stream `number` through idet; call `checkpoint` at each.

    `begins` tells that the first of them is the film's own beginning.
    """
    sample = Sample()
    for time in times:
        with open_media(source, what) as container:
            stream: VideoStream = container.streams[number]  # type: ignore[assignment]
            only(container, {number})
            if time != times[0] or not begins:
                try:
                    container.seek(time, stream=stream)
                except av.error.FFmpegError:
                    continue  # a container that cannot seek shows its beginning only
            _observe(islice(_frames(container, stream), FRAMES), sample, checkpoint)
    return sample


def _frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    stream.codec_context.thread_type = ThreadType.AUTO
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            if packet.size or packet.pts is None:
                yield from stream.codec_context.decode(packet if packet.size else None)
        except av.error.FFmpegError:
            continue


def _observe(frames: Iterable[VideoFrame], sample: Sample, checkpoint: Callable[[], None]) -> None:
    graph: Graph | None = None
    shape: tuple[int, int, str] | None = None
    sample.moments.append([])
    for i, frame in enumerate(frames):
        checkpoint()
        if FOLLOWED_FROM <= i < FOLLOWED_FROM + FOLLOWED:
            sample.moments[-1].append(_luma(frame))
        look_now = (frame.width, frame.height, frame.format.name)
        if graph is None or look_now != shape:
            graph, shape = _idet(frame), look_now
        sample.frames += 1
        sample.flagged += frame.interlaced_frame
        frame.pts = i
        graph.vpush(frame)
        _collect(graph, sample)
    if graph is not None:
        graph.vpush(None)
        _collect(graph, sample)


def _luma(frame: VideoFrame) -> Luma:
    """Return the middle of a frame's luma, from an even line on."""
    grey = frame.reformat(format="gray").to_ndarray()
    height, width = grey.shape
    top, left = max(0, height - MIDDLE[0]) // 4 * 2, max(0, width - MIDDLE[1]) // 2
    return grey[top : top + MIDDLE[0], left : left + MIDDLE[1]].astype(np.float32)


def _idet(frame: VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25))
    detect, sink = graph.add("idet"), graph.add("buffersink")
    source.link_to(detect)
    detect.link_to(sink)
    graph.configure()
    return graph


def _collect(graph: Graph, sample: Sample) -> None:
    while True:
        try:
            tags = graph.vpull().metadata
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        sample.verdicts[tags.get("lavfi.idet.multiple.current_frame", "undetermined")] += 1
        sample.repeated[tags.get("lavfi.idet.repeated.current_frame", "neither")] += 1


def judge(sample: Sample) -> Scanning:
    """Judge a sample; return the scan type with its evidence in words."""
    seen = sample.verdicts
    tff, bff, whole = seen["tff"], seen["bff"], seen["progressive"]
    woven, known = tff + bff, tff + bff + whole
    repeats = sample.repeated["top"] + sample.repeated["bottom"]
    evidence = (
        f"{sample.flagged} of {sample.frames} sampled frames are flagged interlaced; idet sees {tff} top field first, "
        f"{bff} bottom field first, {whole} progressive, {seen['undetermined']} undetermined, {repeats} with a repeated field"
    )
    flagged = sample.flagged * 2 > sample.frames
    order: Scan = "interlaced-bff" if bff > tff else "interlaced-tff"
    if known < ENOUGH:
        kind: Scan = order if flagged else "progressive" if sample.frames else "unknown"
        return Scanning(kind, evidence, flagged)
    # 3:2 pulldown repeats the top field of one frame in five and the bottom field of another; idet misses some.
    if woven and repeats >= 0.15 * sample.frames and min(sample.repeated["top"], sample.repeated["bottom"]) > 1:
        return Scanning("telecined", evidence, flagged)
    if woven / known <= WOVEN:
        return Scanning("progressive", evidence, flagged=False)
    votes = sample.votes()
    evidence += f"; {votes}"
    if votes.verdict == "progressive":
        return Scanning("progressive", evidence, flagged=False)
    if flagged:
        return Scanning(order, evidence, flagged)
    if votes.verdict == "interlaced":
        return Scanning("interlaced-bff" if votes.bottom > votes.top else "interlaced-tff", evidence, flagged)
    return Scanning("unknown", f"{DOUBT}: {evidence}", flagged=False)


def repeated_by_flags(durations: list[int]) -> int:
    """Count the frames that last three fields where the commonest others last two: a 3:2 pulldown left to the player.

    H.262 signals it by repeat_first_field; a parser turns that into the packet's duration.
    """
    shortest = min((d for d in durations if d > 0), default=0)
    return sum(abs(2 * d - 3 * shortest) <= 2 + shortest // 50 for d in durations)


def is_soft_telecine(durations: list[int]) -> bool:
    """Return True if about every other frame of a film (packet durations) is shown for a field longer."""
    shortest = min((d for d in durations if d > 0), default=0)
    short = sum(abs(d - shortest) <= 1 + shortest // 50 for d in durations)
    long = repeated_by_flags(durations)
    return (
        long + short >= 0.9 * len(durations) and 0.3 * len(durations) <= long <= 0.7 * len(durations) and long > ENOUGH
    )


def scan_film(
    source: BinaryIO, index: FilmIndex, pts: list[int], what: str, checkpoint: Callable[[], None]
) -> Scanning:
    """Find the scan type of a planned film. `pts` are the times of its frames."""
    if index.codec in NEVER_INTERLACED:
        return Scanning("progressive", f"{index.codec} knows no fields")
    spots = [pts[len(pts) * i // SPOTS] for i in range(SPOTS)] if len(pts) > SPOTS * FRAMES else [pts[0]]
    seen = judge(look(source, index.stream, spots, what, checkpoint, begins=not index.moved))
    lasting = unpack(index.durations).tolist()
    if index.codec in REPEATING and seen.kind == "progressive" and is_soft_telecine(lasting):
        flags = f"{repeated_by_flags(lasting)} of {len(lasting)} frames ask for a repeated field (soft telecine)"
        return Scanning("telecined", f"{flags}; {seen.evidence}", flagged=True)
    return seen
