"""Two ways for stages to work at the same time: one that runs ahead of its consumer, one that is left to run behind.

Queues are bounded, so memory is; an error in any stage comes out where the pipeline is used; leaving early stops every thread.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")

_POLL_S = 0.1
"""Seconds between looks at whether the other side has gone, for a stage that waits for room."""


@dataclass(frozen=True)
class _Ended:
    """The last thing in a queue: nothing more comes, or `error` happened."""

    error: BaseException | None = None


@contextlib.contextmanager
def ahead(items: Iterable[T], depth: int) -> Iterator[Iterator[T]]:
    """Iterate over `items` in a thread of its own, up to `depth` of them ahead of what is taken here.

    An error of `items` is raised where the next one would have been taken. On leaving, `items` (a generator is closed) has ended.
    """
    ready: queue.Queue[T | _Ended] = queue.Queue(depth)
    leaving = threading.Event()

    def put(item: T | _Ended) -> bool:
        while not leaving.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=_POLL_S)
                return True
        return False

    def run() -> None:
        try:
            try:
                for item in items:
                    if not put(item):
                        return
            finally:
                if isinstance(items, Generator):
                    items.close()
            put(_Ended())
        except BaseException as error:
            put(_Ended(error))

    def taken() -> Iterator[T]:
        while True:
            item = ready.get()
            if isinstance(item, _Ended):
                if item.error is not None:
                    raise item.error
                return
            yield item

    thread = threading.Thread(target=run, name="ahead")
    thread.start()
    try:
        yield taken()
    finally:
        leaving.set()
        thread.join()


class Behind(Generic[T]):
    """Calls `consume` on one item after another in a thread of its own, up to `depth` of them behind. A context manager.

    An error of `consume` is raised by the next `put`, or on leaving; leaving without an error waits until all is consumed,
    leaving with one only until the item at hand is.
    """

    def __init__(self, consume: Callable[[T], None], depth: int) -> None:
        self._consume = consume
        self._waiting: queue.Queue[T | _Ended] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._failed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="behind")

    def __enter__(self) -> Behind[T]:
        self._thread.start()
        return self

    def put(self, item: T) -> None:
        """Leave `item` to the thread; waits while `depth` items wait already."""
        self._put(item)
        if self._error is not None:
            raise self._error

    def _put(self, item: T | _Ended) -> None:
        while not self._failed.is_set():
            with contextlib.suppress(queue.Full):
                self._waiting.put(item, timeout=_POLL_S)
                return

    def _run(self) -> None:
        try:
            while not isinstance(item := self._waiting.get(), _Ended):
                if self._failed.is_set():
                    return
                self._consume(item)
        except BaseException as error:
            self._error = error
            self._failed.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._failed.set()
            with contextlib.suppress(queue.Full):  # a full queue wakes the thread as well
                self._waiting.put_nowait(_Ended())
        else:
            self._put(_Ended())
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error
