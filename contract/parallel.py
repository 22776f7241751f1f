"""Parallel work on threads with results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 1000
"""Items in flight where each result is small: a large file then does not hold up the small ones behind it."""


def in_order(
    work: Callable[[T], R], items: Iterable[T], threads: int, name: str, ahead: int | None = None
) -> Iterator[R]:
    """Yield `work(item)` for each item in order, computed by `threads` threads called `name`.

    At most `ahead` items (default: twice the threads) are started before their results are taken. The first failure in
    the order of the items is raised. After a failure, or when the caller stops iterating, running work is waited for
    and the rest is not started.
    """
    most = 2 * threads if ahead is None else ahead
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    begun: deque[Future[R]] = deque()
    try:
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) >= most:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
