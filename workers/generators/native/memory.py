"""Memory for pictures with borders of zeros, and threads to work on it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workers.generators.native.winograd import OUTPUT

Memory = npt.NDArray[Any]

CACHE_LINE = 64


def aligned(size: int, dtype: npt.DTypeLike) -> Memory:
    """`size` zeros on a cache line."""
    raw = np.zeros(size * np.dtype(dtype).itemsize + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + size * np.dtype(dtype).itemsize].view(dtype)


def copied(values: Memory) -> Memory:
    """`values` on a cache line, in one piece."""
    made = aligned(values.size, values.dtype).reshape(values.shape)
    made[...] = values
    return made


@dataclass(frozen=True)
class View:
    """`height` x `width` pixels in `memory`: planes x rows x columns x channels, a border of zeros around each plane (see `Room.view`)."""

    memory: Memory
    height: int
    width: int

    @property
    def pixels(self) -> Memory:
        return self.memory[:, 1 : self.height + 1, 1 : self.width + 1]

    def rows(self, first: int, last: int) -> View:
        """The rows `first` .. `last` - 1, with their neighbours in the border's place."""
        return View(self.memory[:, first:], last - first, self.width)

    def border(self, first: int, channels: int) -> None:
        """Make the border of some channels of each plane zero."""
        part = self.memory[..., first : first + channels]
        part[:, 0] = 0
        part[:, :, 0] = 0
        part[:, self.height + 1 :] = 0
        part[:, :, self.width + 1 :] = 0


class Room:
    """Memory by name that grows and is used again."""

    def __init__(self) -> None:
        self._held: dict[str, Memory] = {}

    def flat(self, name: str, size: int, dtype: npt.DTypeLike = np.float32) -> Memory:
        """`size` values on a cache line; whatever they were when they were used before."""
        held = self._held.get(name)
        if held is None or held.size < size or held.dtype != dtype:
            self._held.pop(name, None)
            held = self._held[name] = aligned(size, dtype)
        return held[:size]

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
        """A picture with one pixel of border, more at the bottom and on the right up to whole tiles, and `slack` pixels after it."""
        rows, columns = (-(-n // OUTPUT) * OUTPUT + 2 for n in (height, width))
        size = planes * rows * columns * channels
        held = self.flat(name, size + slack * channels, dtype)
        return View(held[:size].reshape(planes, rows, columns, channels), height, width)

    def clear(self) -> None:
        self._held.clear()


class Crew:
    """The calling thread and its helpers."""

    def __init__(self, threads: int) -> None:
        """`threads` 0 means all cores."""
        self.size = threads or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(max(1, self.size - 1), "native")
        self._change = threading.Condition()
        self._open: object = None
        self._working = 0

    def run(self, call: Callable[..., None], arguments: Sequence[tuple[int, ...]]) -> None:
        """`call`, which raises nothing, once with each of `arguments`, the first here; returns when no work is left.

        Helpers count themselves: a time limit may be raised between any two steps of the calling thread, and whoever
        goes on after that would work on the next run's memory. After such an exception, `settle` before that is touched.
        """
        mine, *others = arguments
        self._open = run = object()
        try:
            for other in others:
                self._pool.submit(self._help, run, call, other)
            call(*mine)
        finally:
            self.settle()

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

    def settle(self) -> None:
        """Let no helper begin any more, and wait for those that did: before anything that they read or write is touched.

        Those that the system has not let begin by now are not waited for; the calling thread has done their part.
        """
        with self._change:
            self._open = None
            self._change.wait_for(lambda: not self._working)
