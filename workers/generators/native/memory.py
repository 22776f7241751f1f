"""Buffers for images with borders of zeros, and threads that work on them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stores.processor import usable_cores
from workers.generators.native.winograd import OUTPUT

Memory = npt.NDArray[Any]

CACHE_LINE = 64


def aligned_zeros(size: int, dtype: npt.DTypeLike) -> Memory:
    """Return `size` zeros that start on a cache line."""
    raw = np.zeros(size * np.dtype(dtype).itemsize + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + size * np.dtype(dtype).itemsize].view(dtype)


def aligned_copy(values: Memory) -> Memory:
    """Copy `values` into contiguous memory that starts on a cache line."""
    copy = aligned_zeros(values.size, values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


@dataclass(frozen=True)
class View:
    """An image of `height` x `width` pixels in `memory`: planes x rows x columns x channels.

    Each plane has a border of zeros; see `BufferPool.view`.
    """

    memory: Memory
    height: int
    width: int

    @property
    def pixels(self) -> Memory:
        """The image without its border."""
        return self.memory[:, 1 : self.height + 1, 1 : self.width + 1]

    @property
    def identity(self) -> tuple[int, ...]:
        """Everything that identifies its memory: address, shape, strides and size."""
        return self.memory.ctypes.data, *self.memory.shape, *self.memory.strides, self.height, self.width

    def rows(self, first: int, last: int) -> View:
        """Return the rows `first` .. `last` - 1; the neighbouring rows take the border's place."""
        return View(self.memory[:, first:], last - first, self.width)

    def border(self, first: int, channels: int) -> None:
        """Set the border of `channels` channels of each plane, from `first` on, to zero."""
        part = self.memory[..., first : first + channels]
        part[:, 0] = 0
        part[:, :, 0] = 0
        part[:, self.height + 1 :] = 0
        part[:, :, self.width + 1 :] = 0


class BufferPool:
    """Named buffers that grow and are used again."""

    def __init__(self) -> None:
        self._held: dict[str, Memory] = {}

    def flat(self, name: str, size: int, dtype: npt.DTypeLike = np.float32) -> Memory:
        """Return `size` values that start on a cache line; their contents are undefined."""
        buffer = self._held.get(name)
        if buffer is None or buffer.size < size or buffer.dtype != dtype:
            self._held.pop(name, None)
            buffer = self._held[name] = aligned_zeros(size, dtype)
        return buffer[:size]

    def view(
        self,
        name: str,
        height: int,
        width: int,
        channels: int,
        dtype: npt.DTypeLike = np.float32,
        planes: int = 1,
        slack: int = 0,
    ) -> View:
        """Return an image with a border of one pixel, wider at the bottom and right up to whole tiles, and `slack` pixels after it."""
        rows, columns = (-(-n // OUTPUT) * OUTPUT + 2 for n in (height, width))
        size = planes * rows * columns * channels
        buffer = self.flat(name, size + slack * channels, dtype)
        return View(buffer[:size].reshape(planes, rows, columns, channels), height, width)

    def clear(self) -> None:
        """Free all buffers."""
        self._held.clear()


class ThreadTeam:
    """The calling thread and its helpers: `size` threads in all. `threads` 0 means all cores."""

    def __init__(self, threads: int) -> None:
        self.size = threads or usable_cores()
        self._pool = ThreadPoolExecutor(max(1, self.size - 1), "native")
        self._change = threading.Condition()
        self._open: object = None
        self._working = 0

    def run(self, call: Callable[..., None], arguments: Sequence[tuple[int, ...]]) -> None:
        """Run `call`, which raises nothing, once with each of `arguments`, the first in this thread; return when all are done.

        Helpers count themselves: a time limit may be raised between any two steps of the calling thread, and a helper that
        continues after that would write to the next run's memory. After such an exception, call `wait_idle` before touching the memory.
        """
        own, *others = arguments
        self._open = run = object()
        try:
            for other in others:
                self._pool.submit(self._help, run, call, other)
            call(*own)
        finally:
            self.wait_idle()

    def _help(self, run: object, call: Callable[..., None], arguments: tuple[int, ...]) -> None:
        with self._change:
            if run is not self._open:
                return
            self._working += 1
        try:
            call(*arguments)
        finally:
            with self._change:
                self._working -= 1
                self._change.notify_all()

    def wait_idle(self) -> None:
        """Let no more helpers begin, and wait for those that have begun, before any memory they use is touched.

        Helpers that have not been scheduled yet are not waited for; the calling thread has done their part.
        """
        with self._change:
            self._open = None
            self._change.wait_for(lambda: not self._working)
