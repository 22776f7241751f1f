"""Results of images, copied on the store's side from the objects of their chunks to their names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from contract import keys
from contract.errors import IntegrityError, Missing
from contract.job import Item, ItemFailure, ResultFile
from contract.parallel import AHEAD, in_order
from orchestrator.job_store import AT_ONCE, ChunkObjects
from stores.object_store import ObjectStore

Copy = tuple[Item, str, str, str, int]
"""An item, the name of a file of it, the object that is that file, that object's SHA-256 and its bytes."""


class ResultCopies:
    """Copies of a job's results. What an earlier assembly stored, or an orchestrator early, is not copied again.

    In a job that was `reopened` such results are read first: they may be why it was. In others it is enough that S3 lists the same
    size and ETag for a result as `objects` has for what it is copied from.
    """

    def __init__(self, storage: ObjectStore, job: str, objects: ChunkObjects, reopened: bool) -> None:
        self._storage, self._job, self._objects, self._reopened = storage, job, objects, reopened
        self._stands = {entry.key: entry for entry in storage.entries(keys.results_prefix(job))}

    def make(self, wanted: Sequence[Copy], checkpoint: Callable[[], None]) -> Iterator[ResultFile | ItemFailure]:
        """Yield the files of `wanted` in their order, or the failure of an item whose object is gone."""
        for found in in_order(self._made, wanted, AT_ONCE, "copy", AHEAD):
            checkpoint()
            yield found

    def _made(self, wanted: Copy) -> ResultFile | ItemFailure:
        item, name, source, sha256, size = wanted
        key = keys.result_file(self._job, name)
        try:
            if not self._delivered(source, key, sha256, size):
                self._storage.copy(source, key, size)
        except Missing as error:
            return ItemFailure(item.n, item.name, f"{error} `respool retry {self._job}` makes it again.")
        return ResultFile(item.n, name, key, sha256, size)

    def _delivered(self, source: str, key: str, sha256: str, size: int) -> bool:
        """Return True if the result `key` stands already, with the bytes that `source` has."""
        stands = self._stands.get(key)
        if stands is None or stands.size != size:
            return False
        if not self._reopened and self._objects.has(source, stands):
            return True
        try:
            self._storage.verify(key, sha256)
        except IntegrityError:
            return False  # rotten, or gone since it was listed: copied anew
        return True
