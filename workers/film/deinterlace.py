"""One whole frame of each pair of fields, by FFmpeg's bwdif, the same at chunk borders as anywhere else.

bwdif looks at the frame before and the frame after. A chunk's run therefore carries one frame of context on either side;
what the filter makes of those is thrown away, and what it makes of the owned ones does not know where the chunk ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import av.error
from av.filter import Graph

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from contract.film import Scanning

PARITY = {"interlaced-tff": "tff", "interlaced-bff": "bff"}


def deinterlaced(frames: Iterable[tuple[int, VideoFrame]], scanning: Scanning) -> Iterator[tuple[int, VideoFrame]]:
    """Give each (position, frame) its whole frame. Where the frames are flagged, their own flags say which are woven and
    which field comes first; otherwise all are taken as woven, with the field order that was seen."""
    graph: Graph | None = None
    shape: tuple[int, int, str] | None = None
    positions: list[int] = []
    for position, frame in frames:
        look = (frame.width, frame.height, frame.format.name)
        if graph is not None and look != shape:
            yield from _drained(graph, positions)
            graph = None
        if graph is None:
            graph, shape = _bwdif(frame, scanning), look
        frame.pts = position
        frame.time_base = Fraction(1, 1)
        positions.append(position)
        graph.vpush(frame)
        yield from _pulled(graph, positions)
    if graph is not None:
        yield from _drained(graph, positions)


def _bwdif(frame: VideoFrame, scanning: Scanning) -> Graph:
    flagged = scanning.flagged
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1))
    parity = "auto" if flagged else PARITY.get(scanning.kind, "auto")
    weave = graph.add("bwdif", f"mode=send_frame:parity={parity}:deint={'interlaced' if flagged else 'all'}")
    sink = graph.add("buffersink")
    source.link_to(weave)
    weave.link_to(sink)
    graph.configure()
    return graph


def _pulled(graph: Graph, positions: list[int]) -> Iterator[tuple[int, VideoFrame]]:
    """Frames come out in the order in which they went in, one for each."""
    while True:
        try:
            frame = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield positions.pop(0), frame


def _drained(graph: Graph, positions: list[int]) -> Iterator[tuple[int, VideoFrame]]:
    graph.vpush(None)
    yield from _pulled(graph, positions)
