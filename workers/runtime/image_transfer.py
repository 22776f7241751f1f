"""Transfer of images: sources are fetched ahead of the current image and results stored behind it.

Between small images no time is spent waiting for the store.
"""

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
"""Sources fetched ahead, and results that may wait to be stored; bounds the files in scratch space."""


class ImageTransfer:
    """The transfers of one attempt; a context manager that waits for those in progress on exit.

    `folder` is the attempt's own scratch space.
    """

    def __init__(self, storage: Storage, lease: Lease, folder: Path) -> None:
        self._storage, self._lease, self._folder = storage, lease, folder
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="transfer")
        self._storing: deque[Future[Output]] = deque()
        self._stored: list[Output] = []

    def __enter__(self) -> ImageTransfer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def sources(self, items: Sequence[Item]) -> Iterator[tuple[Item, Future[Path]]]:
        """Yield each item with a future of its source, which raises BadInput for a wrong hash, or as `Storage.get_file` does.

        A source is removed when the next one is requested.
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
        """Return the path to which the result of `item` is written before it is stored."""
        return self._folder / f"out-{item.n}"

    def store(self, item: Item, width: int, height: int) -> None:
        """Store the result in `out(item)` in the background, verify it, and remove the file; raise errors of earlier ones."""
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
        """Wait until all results are stored and return them in order; raise the first error."""
        while self._storing:
            self._stored.append(self._storing.popleft().result())
        return tuple(self._stored)
