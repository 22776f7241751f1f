"""Many things at a time, their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(work: Callable[[T], R], items: Iterable[T], threads: int, name: str) -> Iterator[R]:
    """`work` of each item by `threads` threads called `name`; at most twice as many items are begun as results are taken.

    The first failure, in the order of the items, is raised; then, as when the results are wanted no more, what is
    under way is waited for and the rest is left.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    begun: deque[Future[R]] = deque()
    try:
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) >= 2 * threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
