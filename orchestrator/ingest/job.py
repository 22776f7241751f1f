"""From a submitted job to its plan: index every film, cut it into packet runs, group the images."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from types import MappingProxyType

from msgspec.structs import replace

from contract import keys
from contract.documents import encode
from contract.errors import BadInput, IntegrityError, Missing, SourceChanged, StorageError
from contract.job import Chunk, Item, ItemFailure, Job, Plan
from contract.packets import RunOwner
from contract.parallel import in_order
from orchestrator.ingest.film import plan_film
from orchestrator.ingest.images import is_large, plan_bands
from orchestrator.ingest.packet_runs import cut
from orchestrator.job_store import Records
from stores.object_reader import Reader
from stores.object_store import ObjectStore

logger = logging.getLogger(__name__)

GROUP_PIXELS = 4_000_000
"""Images are grouped until they have so many pixels: seconds of work, so that a chunk's overhead stays under 5%."""

GROUP_IMAGES = 64
_UPLOADS = 3
"""Runs of a film stored at once; twice as many are in memory."""


def ingest(
    job: Job,
    storage: ObjectStore,
    scale: int,
    checkpoint: Callable[[], None],
    refused: Mapping[int, str] = MappingProxyType({}),
    begin: Callable[[int], None] = lambda _: None,
) -> Plan:
    """Write the index and the chunk inputs of every item, then plan.json, once for each opening of the job.

    A job that was planned before keeps its chunks and their numbers: only what had been refused, and items whose inputs are
    lost, are looked at, and what comes of them gets numbers behind all others. Inputs and indexes are named by their
    content, so that neither an interrupted ingest nor one that runs beside this one spoils them.
    `scale` is the factor of the job's generator. An item that cannot be read is a failure of its own. `checkpoint` is called at each packet of a film and between chunks,
    and raises to stop, `begin` at each item that is read.
    Items in `refused` are not read, because they killed the process that read them before; they fail with the reason given.
    """
    records = Records(storage)
    control = records.control(job.id)
    before, tag = records.tagged_plan(job.id) or (None, None)
    if before is not None and before.opening >= control.replan:
        return before
    away = handed_over_as_refused(job, storage)
    planning = _Planning(job, storage, scale, checkpoint, before)
    wanted = None if before is None else {failure.item for failure in before.failures} | set(control.recut)
    twins = dict(before.duplicates) if before else duplicates([item for item in job.items if item.n not in away])
    for item in job.items:
        checkpoint()
        if item.n in twins or (wanted is not None and item.n not in wanted):
            planning.close_group()
            continue
        reason = away.get(item.n) or refused.get(item.n)
        if reason is not None:
            planning.refuse(item, reason)
        else:
            begin(item.n)
            planning.add(item)
    plan = planning.plan(twins, control.retries)
    if storage.swap(keys.plan(job.id), encode(plan), tag):
        return plan
    other = records.planned(job.id, control)
    if other is None:
        raise StorageError(f"plan.json of job {job.id} was replaced by another one meanwhile; it is planned again.")
    return other


class _Planning:
    """The chunks of a plan as they grow, item by item; a plan made `before` is extended."""

    def __init__(
        self, job: Job, storage: ObjectStore, scale: int, checkpoint: Callable[[], None], before: Plan | None
    ) -> None:
        self._job, self._storage, self._scale, self._checkpoint = job, storage, scale, checkpoint
        self._chunks = list(before.chunks if before else ())
        self._retired = list(before.retired if before else ())
        self._indexes = dict(before.indexes if before else ())
        self._old = {chunk.n for chunk in before.live} if before else set()
        self._failures: list[ItemFailure] = []
        self._group: list[Item] = []

    def plan(self, twins: Mapping[int, int], opening: int) -> Plan:
        """Return the whole plan."""
        self.close_group()
        return Plan(
            self._job.id,
            tuple(self._chunks),
            tuple(self._failures),
            tuple(sorted(twins.items())),
            opening,
            tuple(self._retired),
            tuple(sorted(self._indexes.items())),
        )

    def refuse(self, item: Item, reason: str) -> None:
        """Note an item that is not worked on."""
        self.close_group()
        self._failures.append(ItemFailure(item.n, item.name, reason))

    def add(self, item: Item) -> None:
        """Plan an item; what cannot be read is refused."""
        if item.kind == "image" and not is_large(item):
            if len(self._group) == GROUP_IMAGES or sum(i.pixels for i in self._group) + item.pixels > GROUP_PIXELS:
                self.close_group()
            self._group.append(item)
            return
        self.close_group()
        try:
            if item.kind == "image":
                self._take(item, _bands(self._job, item, self._scale, self._storage))
                return
            chunks, self._indexes[item.n] = _film(self._job, item, self._scale, self._storage, self._checkpoint)
            self._take(item, chunks)
        except (BadInput, IntegrityError) as error:
            logger.warning("item refused: %s", error, extra={"job": self._job.id})
            self.refuse(item, str(error))

    def close_group(self) -> None:
        """Make a chunk of the small images that are gathered."""
        if self._group:
            first, more = self._group[0], len(self._group) - 1
            label = first.name if not more else f"{first.name} and {more} more"
            content = _content(self._group)
            self._number([Chunk(0, "image", first.n, first.n, len(self._group), label, input=content)])
            self._group.clear()

    def _take(self, item: Item, chunks: list[Chunk]) -> None:
        """Give an item's chunks numbers, unless it has the same ones already; retire others that it has."""
        old = [chunk for chunk in self._chunks if chunk.n in self._old and chunk.item == item.n]
        if [chunk.work(self._job.id) for chunk in old] == [chunk.work(self._job.id) for chunk in chunks]:
            return
        self._retired += [chunk.n for chunk in old]
        self._number(chunks)

    def _number(self, chunks: list[Chunk]) -> None:
        """Give chunks the next numbers: none is ever given twice."""
        self._chunks += [replace(chunk, n=len(self._chunks) + k) for k, chunk in enumerate(chunks)]


def handed_over_as_refused(job: Job, storage: ObjectStore) -> dict[int, str]:
    """Items whose sources the submitter could not read, with the reason: there is nothing to look at."""
    prefix = keys.items_prefix(job.id)
    found = {}
    for key, _ in storage.list(prefix):
        number = key[len(prefix) :].partition("/")[0]
        if number.isdecimal() and key == keys.refused(job.id, int(number)):
            found[int(number)] = storage.get(key).decode()
    return found


def duplicates(items: Sequence[Item]) -> dict[int, int]:
    """Items whose bytes an earlier item has too, and which become a file of the same kind: item -> the first such item."""
    first: dict[tuple[str, str, str], int] = {}
    found = {}
    for item in items:
        key = (item.sha256, item.kind, PurePosixPath(item.result).suffix.lower())
        if first.setdefault(key, item.n) != item.n:
            found[item.n] = first[key]
    return found


def _content(items: Sequence[Item]) -> str:
    """Return a hash of the bytes of images that make one chunk."""
    return hashlib.sha256(" ".join(item.sha256 for item in items).encode()).hexdigest()


def _bands(job: Job, item: Item, scale: int, storage: ObjectStore) -> list[Chunk]:
    """Return the chunks of one large image, numbered from 0 on."""
    source = io.BufferedReader(open_source(storage, job, item))
    bands = plan_bands(source, item, job.spec, scale)
    labels = [f"{item.name} band {k + 1}/{bands}" if bands > 1 else item.name for k in range(bands)]
    return [Chunk(k, "image", item.n, item.n, 1, labels[k], k, bands, _content([item])) for k in range(bands)]


def _film(
    job: Job, item: Item, scale: int, storage: ObjectStore, checkpoint: Callable[[], None]
) -> tuple[list[Chunk], str]:
    """Index one film and store its chunks; return these, numbered from 0 on and all uploaded, and the index' SHA-256."""
    key = keys.source(job.id, item.n)
    open_source(storage, job, item)
    check_source(storage, key, item, checkpoint)
    index = plan_film(io.BufferedReader(storage.open(key)), item, job.spec, scale, checkpoint)
    document = encode(index)
    sha256 = hashlib.sha256(document).hexdigest()
    storage.put(keys.index(job.id, item.n, sha256), document)
    total = len(index.chunks)

    def store(numbered: tuple[int, bytes]) -> Chunk:
        k, run = numbered
        content, part = hashlib.sha256(run).hexdigest(), index.chunks[k]
        storage.put(keys.run(job.id, item.n, content), run)
        label = f"{item.name} chunk {k + 1}/{total}"
        return Chunk(k, "video", item.n, part.first, part.count, label, input=content)

    def runs() -> Iterator[tuple[int, bytes]]:
        owner = RunOwner(job.id, item.n, item.sha256)
        for k, run in enumerate(cut(io.BufferedReader(storage.open(key)), index, owner)):
            checkpoint()
            yield k, run

    chunks = list(in_order(store, runs(), _UPLOADS, "upload"))
    if len(chunks) != total:
        raise SourceChanged(f"{item.name} gave {len(chunks)} of {total} chunks; submit it again.")
    return chunks, sha256


def open_source(storage: ObjectStore, job: Job, item: Item) -> Reader:
    """Open the stored source of an item; raise BadInput, with what to do, where it is gone."""
    try:
        return storage.open(keys.source(job.id, item.n))
    except Missing as error:
        raise BadInput(
            f"{item.name} is no longer in the store; submit the same files with the same options again, then "
            f"`respool retry {job.id}`."
        ) from error


def check_source(storage: ObjectStore, key: str, item: Item, checkpoint: Callable[[], None]) -> None:
    """Read a stored source once and hold it against the submission; SourceChanged when it is another."""
    digest = hashlib.sha256()
    with io.BufferedReader(storage.open(key), 1 << 20) as stream:
        while block := stream.read(1 << 20):
            checkpoint()
            digest.update(block)
    if digest.hexdigest() != item.sha256:
        raise SourceChanged(
            f"{item.name} was submitted with SHA-256 {item.sha256}, but the store holds {digest.hexdigest()}; submit it again."
        )
