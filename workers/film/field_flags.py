"""Flags of fields on frames that are made anew, in films that stay interlaced."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

from av.filter import Graph

from media.codecs import BOTTOM_SHOWN_FIRST, PROGRESSIVE

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


class FieldFlags:
    """Keeper of the interlaced flag of frames past the network.

    Encoders read the order of fields from each frame, and take one without flags for bottom field first. A progressive
    film (`field_order` of FFmpeg's AVFieldOrder up to PROGRESSIVE) has none.
    """

    def __init__(self, field_order: int) -> None:
        self._wanted = field_order > PROGRESSIVE
        self._order = "bff" if field_order in BOTTOM_SHOWN_FIRST else "tff"
        self._held: dict[int, bool] = {}

    def take(self, ordinal: int, frame: VideoFrame) -> None:
        """Hold the flag of a source's frame."""
        if self._wanted:
            self._held[ordinal] = frame.interlaced_frame

    def put(self, ordinal: int, frame: VideoFrame) -> VideoFrame:
        """Return the result `frame` with the film's order of fields, interlaced where its source's frame was."""
        if not self._wanted:
            return frame
        graph = Graph()
        graph.threads = 1
        parts = [
            graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1)),
            graph.add("setfield", f"mode={self._order}"),
            *([] if self._held.pop(ordinal) else [graph.add("setfield", "mode=prog")]),
            graph.add("buffersink"),
        ]
        for before, after in pairwise(parts):
            before.link_to(after)
        graph.configure()
        graph.vpush(frame)
        return graph.vpull()
