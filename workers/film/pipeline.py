"""Concurrent pipeline stages: one that runs ahead of its consumer, and one that runs behind its producer.

Queues are bounded, and so is memory. An error in any stage is raised in the thread that uses the pipeline. Leaving early stops
every thread.
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
"""Seconds between checks whether the other side has ended, for a stage that waits for space in its queue."""


@dataclass(frozen=True)
class _Ended:
    """The last entry in a queue: the end of the items, or the `error` that ended them."""

    error: BaseException | None = None


@contextlib.contextmanager
def prefetched(items: Iterable[T], depth: int) -> Iterator[Iterator[T]]:
    """Iterate over `items` in a thread of its own, up to `depth` items ahead of the consumer.

    An error of `items` is raised instead of the next item. On exit the iteration has ended, and a generator is closed.
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

    thread = threading.Thread(target=run, name="prefetch")
    thread.start()
    try:
        yield taken()
    finally:
        leaving.set()
        thread.join()


class BackgroundConsumer(Generic[T]):
    """A context manager that calls `consume` on one item after another in a thread of its own, up to `depth` items behind.

    An error of `consume` is raised by the next `put`, or on exit. Exit without an error waits until all items are consumed,
    exit with an error waits only for the current item.
    """

    def __init__(self, consume: Callable[[T], None], depth: int) -> None:
        self._consume = consume
        self._waiting: queue.Queue[T | _Ended] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._failed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="consume")

    def __enter__(self) -> BackgroundConsumer[T]:
        self._thread.start()
        return self

    def put(self, item: T) -> None:
        """Pass `item` to the thread; block while `depth` items are waiting."""
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
            with contextlib.suppress(queue.Full):  # a full queue wakes the thread too
                self._waiting.put_nowait(_Ended())
        else:
            self._put(_Ended())
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error
