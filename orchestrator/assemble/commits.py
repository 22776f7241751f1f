"""The commits of a job at its end, each read and checked once, and kept on disk: a million of them are more than memory should hold."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

from contract import keys
from contract.documents import decode
from contract.errors import IntegrityError, PermanentError
from contract.job import Done, Plan
from contract.parallel import AHEAD, in_order
from orchestrator.job_store import AT_ONCE, ChunkObjects, Records
from stores.commit_log import sound_copies

_ABSENT = -1


class Commits(Mapping[int, Done]):
    """The commits of `plan` that were read, by chunk, in the order of the chunks.

    A copy in the commit log is used where `objects`, S3's own listing, has the ETag of the same bytes; every other commit is asked
    for. A file in `folder` holds their text, memory 12 bytes a chunk.
    """

    def __init__(self, records: Records, plan: Plan, objects: ChunkObjects, folder: Path) -> None:
        self._records, self._plan, self._objects = records, plan, objects
        self._file = (folder / "commits").open("w+b")
        self._starts = array("q", [_ABSENT]) * len(plan.chunks)
        self._sizes = array("I", [0]) * len(plan.chunks)
        self._wrong: dict[int, PermanentError] = {}
        self._end = 0
        self._last: Done | None = None  # the images of a chunk follow each other
        self.asked = 0
        """Commits that no copy in the log stood for."""

    def __enter__(self) -> Commits:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, chunks: Iterable[int], checkpoint: Callable[[], None]) -> None:
        """Read the commits of `chunks`, all of which the listing has.

        One that is gone, or is no commit of its chunk, raises when it is taken out. Raises TransientError where the store
        does not answer, or a newer version wrote one.
        """
        wanted = set(chunks)
        etags = {n: etag for n, etag in self._objects.done.items() if n in wanted}
        for n, copy in sound_copies(self._records.storage, self._plan.job, etags):
            checkpoint()
            if n in wanted:  # not yet: two orchestrators may have kept one
                wanted.discard(n)
                self._take(n, copy)
        rest = sorted(wanted)
        self.asked += len(rest)
        for n, found in zip(rest, in_order(self._ask, rest, AT_ONCE, "read", AHEAD), strict=True):
            checkpoint()
            self._take(n, found)
        self._file.flush()

    def _ask(self, n: int) -> bytes | IntegrityError:
        try:
            return self._records.done_text(self._plan.job, n)
        except IntegrityError as error:
            return error

    def _take(self, n: int, found: bytes | IntegrityError) -> None:
        try:
            if isinstance(found, IntegrityError):
                raise found
            self._records.checked(self._plan.job, self._plan.chunks[n], found)
        except PermanentError as error:
            self._wrong[n] = error
            return
        self._file.write(found)
        self._starts[n], self._sizes[n] = self._end, len(found)
        self._end += len(found)

    def __getitem__(self, n: int) -> Done:
        """Return the commit of chunk `n`; raise KeyError for one that was not read, and what is wrong with one that does not count."""
        if n in self._wrong:
            raise self._wrong[n]
        if n not in self:
            raise KeyError(n)
        if self._last is None or self._last.chunk != n:
            data = os.pread(self._file.fileno(), self._sizes[n], self._starts[n])
            self._last = decode(data, Done, keys.done(self._plan.job, n))
        return self._last

    def __contains__(self, n: object) -> bool:
        return isinstance(n, int) and 0 <= n < len(self._starts) and self._starts[n] != _ABSENT

    def __iter__(self) -> Iterator[int]:
        return (n for n, start in enumerate(self._starts) if start != _ABSENT)

    def __len__(self) -> int:
        return sum(start != _ABSENT for start in self._starts)
