"""Frames whose memory is used again."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


class FramePool:
    """Frames of one size and format that were encoded, up to `most` bytes of them; may be used from several threads.

    Memory that is new to the process costs more than to fill it: the kernel clears each page when it is first written.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kind: tuple[int, int, str] | None = None
        self._idle: deque[VideoFrame] = deque()
        self.kept = 0
        """The bytes of the frames that are kept."""
        self._lock = threading.Lock()

    def take(self, width: int, height: int, pix_fmt: str) -> VideoFrame:
        """Return a frame with any values in memory that nothing else reads; of another kind than before, drop those that are kept."""
        from av.video.frame import VideoFrame

        with self._lock:
            if self._kind != (width, height, pix_fmt):
                self._kind = width, height, pix_fmt
                self._idle.clear()
                self.kept = 0
            frame = self._idle.popleft() if self._idle else None  # the one that encoders have had the longest
            if frame is not None:
                self.kept -= _size(frame)
        if frame is None:
            return VideoFrame(width, height, pix_fmt)
        # Encoders count their references to a frame's memory; while one has any, this gives the frame other memory.
        frame.make_writable()
        return frame

    def give_back(self, frame: VideoFrame) -> None:
        """Keep a frame of `take`, of which no array or plane is used any more; encoders and filters of FFmpeg may still have it."""
        size = _size(frame)
        with self._lock:
            if self._kind == (frame.width, frame.height, frame.format.name) and self.kept + size <= self._most:
                self._idle.append(frame)
                self.kept += size


def _size(frame: VideoFrame) -> int:
    return sum(plane.buffer_size for plane in frame.planes)
