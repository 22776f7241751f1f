"""Deinterlacing of each pair of fields to one frame, by FFmpeg's bwdif, with the same result at chunk borders as elsewhere.

bwdif uses the previous and the next frame. A chunk's run therefore has one frame of context on either side. The filter's result
for those is discarded; its result for owned frames does not depend on the chunk's borders.
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
    """Yield the deinterlaced frame for each (position, frame).

    If the frames have flags, those determine which frames are interlaced and which field comes first. Otherwise all frames are
    treated as interlaced, with the field order that was detected.
    """
    graph: Graph | None = None
    shape: tuple[int, int, str] | None = None
    positions: list[int] = []
    for position, frame in frames:
        layout = (frame.width, frame.height, frame.format.name)
        if graph is not None and layout != shape:
            yield from _drained(graph, positions)
            graph = None
        if graph is None:
            graph, shape = _bwdif(frame, scanning), layout
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
    """Yield the available frames; the filter returns one frame for each input, in order."""
    while True:
        try:
            frame = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield positions.pop(0), frame


def _drained(graph: Graph, positions: list[int]) -> Iterator[tuple[int, VideoFrame]]:
    graph.vpush(None)
    yield from _pulled(graph, positions)
