"""The mask film of a chunk: what filters over time changed in each of its frames, found by comparing frames before and after each filter."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
import numpy.typing as npt

from contract.errors import EnhanceError
from contract.masks import FILLED, MOST, mask_encoding
from contract.time_filters import GRAIN
from workers.film.encode import ChunkEncoder
from workers.film.picture import Picture

if TYPE_CHECKING:
    from types import TracebackType

    from av.video.frame import VideoFrame

    from contract.packets import RunHeader
    from contract.time_filters import TimeFilter
    from workers.film.frame_marks import Clock
    from workers.film.time_filters import FrameFilter

Mask = npt.NDArray[np.uint8]
"""Values of a mask film's frame, height x width (see `contract.masks`)."""


class MaskFilm:
    """Writer of a chunk's mask film into `out`, used as a context manager: a frame for each owned frame that the source has."""

    def __init__(self, out: Path, header: RunHeader, clock: Clock) -> None:
        self._size = header.width, header.height
        self._encoder = ChunkEncoder(out, mask_encoding(self._size, header.encoding.rate, header.encoding.sar))
        self._owned = range(header.first, header.first + header.count)
        self._clock = clock
        self._masks: dict[int, Mask] = {}
        """Masks of frames that are between two filters, by position; none of frames that no filter has changed."""

    def __enter__(self) -> MaskFilm:
        self._encoder.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._encoder.__exit__(kind, error, trace)

    def check(self, frames: int) -> None:
        """Raise EnhanceError unless the mask film has as many frames as the film."""
        if self._encoder.frames != frames:
            raise EnhanceError(f"{self._encoder.frames} masks were made of {frames} frames; report this as a bug.")

    def watched(
        self, one: FrameFilter, frames: Iterable[tuple[int, VideoFrame]], needed: range
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the frames after the filter `one`, as its `filtered` does, and note what it changed in owned ones.

        Grain is not noted: it is put back on the enhanced frame.
        """
        if one.filter is GRAIN:
            yield from one.filtered(frames, needed)
            return
        before: dict[int, VideoFrame] = {}

        def entering() -> Iterator[tuple[int, VideoFrame]]:
            for position, frame in frames:
                if position in self._owned:
                    before[position] = frame
                yield position, frame

        for position, frame in one.filtered(entering(), needed):
            old = before.pop(position, None)
            if old is not None and old is not frame:
                now = time.perf_counter()
                self._note(position, changed(old, frame, one.filter))
                self._clock.spend("masks", now)
            yield position, frame

    def _note(self, position: int, mask: Mask) -> None:
        known = self._masks.get(position)
        self._masks[position] = mask if known is None else np.maximum(known, mask)

    def written(self, frames: Iterable[tuple[int, VideoFrame]]) -> Iterator[tuple[int, VideoFrame]]:
        """Yield filtered frames on, and write the masks of owned ones. Those of another size than the film's are enlarged to it."""
        width, height = self._size
        blank = np.zeros((height, width), np.uint8)
        for position, frame in frames:
            if position in self._owned:
                now = time.perf_counter()
                mask = self._masks.pop(position, blank)
                if mask.shape != blank.shape:
                    mask = np.asarray(cv2.resize(mask, self._size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
                self._encoder.write(position - self._owned.start, av.VideoFrame.from_ndarray(mask, "gray"))
                self._clock.spend("masks", now)
            yield position, frame


def changed(before: VideoFrame, after: VideoFrame, by: TimeFilter) -> Mask:
    """Return the mask of what the filter `by` changed, height x width: its value of FILLED, or the largest change of a channel.

    Changes are on the scale of 8 bits, rounded up, at most MOST. Alpha is not compared.
    """
    old, new = Picture(before), Picture(after)
    mask = np.zeros((before.height, before.width), np.uint8)
    for plane, other in zip(old.planes, new.planes, strict=True):
        off = cv2.absdiff(plane, other).reshape(plane.shape).max(axis=2)
        if old.step > 1:
            off = np.ceil(off / np.float32(old.step))
        part = np.minimum(off, MOST).astype(np.uint8)
        if part.shape != mask.shape:  # chroma: each sample is that of several pixels
            down, across = old.form.down
            part = part.repeat(down, axis=0).repeat(across, axis=1)[: mask.shape[0], : mask.shape[1]]
        np.maximum(mask, part, out=mask)
    filled = FILLED.get(by.name)
    return mask if filled is None else np.where(mask > 0, np.uint8(filled), np.uint8(0))
