"""Many things at a time, their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 1000
"""Items begun whose results are not taken yet, where little is kept of each: a large file does not hold up the small ones."""


def in_order(
    work: Callable[[T], R], items: Iterable[T], threads: int, name: str, ahead: int | None = None
) -> Iterator[R]:
    """`work` of each item by `threads` threads called `name`.

    At most `ahead` items (twice the threads, unless said) are begun whose results are not taken yet. The first failure, in the
    order of the items, is raised; then, as when the results are wanted no more, what is under way is waited for and the
    rest is left.
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
