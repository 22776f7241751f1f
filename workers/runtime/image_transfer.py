"""Sources fetched ahead of the image at work, results stored behind it: between small images the store is not waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from contract import keys
from contract.job import Item, Output
from stores.ledger import Lease
from stores.storage import Storage
from stores.verified import fetch_source

AHEAD = 2
"""Sources fetched before they are wanted, and results that may wait to be stored: so many files lie in scratch space."""


class Exchange:
    """The images of one attempt, on their way in and out. Ends, as a context manager, when nothing is on its way any more."""

    def __init__(self, storage: Storage, lease: Lease, folder: Path) -> None:
        """`folder` is scratch space of the attempt's own."""
        self._storage, self._lease, self._folder = storage, lease, folder
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="exchange")
        self._storing: deque[Future[Output]] = deque()
        self._stored: list[Output] = []

    def __enter__(self) -> Exchange:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def sources(self, items: Sequence[Item]) -> Iterator[tuple[Item, Future[Path]]]:
        """Each item and its source to come, which raises BadInput for other bytes than were submitted, or as `Storage.get_file`.

        A source is removed when the next one is asked for.
        """
        coming: deque[Future[Path]] = deque()
        for n, item in enumerate(items):
            while len(coming) <= AHEAD and n + len(coming) < len(items):
                coming.append(self._pool.submit(self._fetch, items[n + len(coming)]))
            yield item, coming.popleft()
            self._source(item).unlink(missing_ok=True)

    def _source(self, item: Item) -> Path:
        return self._folder / f"source-{item.n}"

    def _fetch(self, item: Item) -> Path:
        return fetch_source(self._storage, self._lease.job, item, self._source(item))

    def out(self, item: Item) -> Path:
        """Where the result of `item` is to be written before it is stored."""
        return self._folder / f"out-{item.n}"

    def store(self, item: Item, width: int, height: int) -> None:
        """Store the result in `out(item)`, read it back, and remove it here; raises what went wrong with an earlier one."""
        while len(self._storing) >= AHEAD:
            self._stored.append(self._storing.popleft().result())
        self._storing.append(self._pool.submit(self._store, item, width, height))

    def _store(self, item: Item, width: int, height: int) -> Output:
        key, path = keys.attempt_image(self._lease.job, self._lease.chunk, self._lease.attempt, item.n), self.out(item)
        sha256 = self._storage.put_file(key, path)
        self._storage.verify(key, sha256)
        size = path.stat().st_size
        path.unlink()
        return Output(item.n, key, sha256, size, 1, width, height)

    def stored(self) -> tuple[Output, ...]:
        """All results, in the order in which they were given, once every one is stored; raises what went wrong."""
        while self._storing:
            self._stored.append(self._storing.popleft().result())
        return tuple(self._stored)
