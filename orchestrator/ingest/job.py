"""From a submitted job to its plan: index every film, cut it into packet runs, group the images."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from types import MappingProxyType

from contract import keys
from contract.documents import decode, encode
from contract.errors import BadInput, IntegrityError, SourceChanged
from contract.job import Chunk, Item, ItemFailure, Job, Plan
from contract.parallel import in_order
from contract.settings import Settings
from orchestrator.ingest.film import plan_film
from orchestrator.ingest.images import is_large, plan_bands
from orchestrator.ingest.packet_runs import cut
from stores.storage import Storage
from weights.catalog import network_scale

logger = logging.getLogger(__name__)

GROUP_PIXELS = 4_000_000
"""Images are grouped until they have so many pixels: seconds of work, so that a chunk's overhead stays under 5%."""

GROUP_IMAGES = 64
_UPLOADS = 3
"""Runs of a film stored at once; twice as many are in memory."""


def ingest(
    job: Job,
    storage: Storage,
    settings: Settings,
    checkpoint: Callable[[], None],
    refused: Mapping[int, str] = MappingProxyType({}),
    begin: Callable[[int], None] = lambda _: None,
) -> Plan:
    """Write index.json and the chunk inputs of every item, then plan.json, once.

    An item that cannot be read is a failure of its own. Whoever is interrupted leaves objects that the next
    try writes again, byte for byte; `checkpoint` is called at each packet of a film and between chunks, and
    raises to stop, `begin` at each item.
    Items in `refused` are not looked at: they killed whoever did before, and fail with the reason given.
    """
    chunks: list[Chunk] = []
    failures: list[ItemFailure] = []
    group: list[Item] = []
    scale = network_scale(job.spec.model, settings)

    def close_group() -> None:
        if group:
            label = group[0].name if len(group) == 1 else f"{group[0].name} and {len(group) - 1} more"
            chunks.append(Chunk(len(chunks), "image", group[0].n, group[0].n, len(group), label))
            group.clear()

    away = handed_over_as_refused(job, storage)
    refused = {**away, **refused}
    twins = duplicates([item for item in job.items if item.n not in away])
    for item in job.items:
        checkpoint()
        begin(item.n)
        if item.n in refused:
            close_group()
            failures.append(ItemFailure(item.n, item.name, refused[item.n]))
            continue
        if item.n in twins:
            close_group()
            continue
        if is_large(item):
            close_group()
            try:
                chunks += _bands(job, item, len(chunks), scale, storage)
            except BadInput as error:
                failures.append(ItemFailure(item.n, item.name, str(error)))
            continue
        if item.kind == "image":
            if len(group) == GROUP_IMAGES or sum(i.pixels for i in group) + item.pixels > GROUP_PIXELS:
                close_group()
            group.append(item)
            continue
        close_group()
        try:
            chunks += _film(job, item, len(chunks), scale, storage, checkpoint)
        except (BadInput, IntegrityError) as error:
            logger.warning("item refused: %s", error, extra={"job": job.id})
            failures.append(ItemFailure(item.n, item.name, str(error)))
    close_group()
    plan = Plan(job.id, tuple(chunks), tuple(failures), tuple(sorted(twins.items())))
    storage.put(keys.plan(job.id), encode(plan), if_absent=True)
    return decode(storage.get(keys.plan(job.id)), Plan, keys.plan(job.id))


def handed_over_as_refused(job: Job, storage: Storage) -> dict[int, str]:
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


def _bands(job: Job, item: Item, number: int, scale: int, storage: Storage) -> list[Chunk]:
    """The chunks of one large image, numbered from `number` on."""
    source = io.BufferedReader(storage.open(keys.source(job.id, item.n)))
    bands = plan_bands(source, item, job.spec, scale)
    labels = [f"{item.name} band {k + 1}/{bands}" if bands > 1 else item.name for k in range(bands)]
    return [Chunk(number + k, "image", item.n, item.n, 1, labels[k], k, bands) for k in range(bands)]


def _film(
    job: Job, item: Item, number: int, scale: int, storage: Storage, checkpoint: Callable[[], None]
) -> list[Chunk]:
    """Index one film and store its chunks from `number` on; all its chunks are uploaded when this returns."""
    key = keys.source(job.id, item.n)
    check_source(storage, key, item, checkpoint)
    index = plan_film(io.BufferedReader(storage.open(key)), item, job.spec, scale, checkpoint)
    storage.put(keys.index(job.id, item.n), encode(index))
    total = len(index.chunks)
    chunks = [
        Chunk(number + k, "video", item.n, part.first, part.count, f"{item.name} chunk {k + 1}/{total}")
        for k, part in enumerate(index.chunks)
    ]

    def runs() -> Iterator[tuple[str, bytes]]:
        for chunk, run in zip(chunks, cut(io.BufferedReader(storage.open(key)), index), strict=True):
            checkpoint()
            yield keys.chunk_input(job.id, chunk.n), run

    for _ in in_order(lambda pair: storage.put(*pair), runs(), _UPLOADS, "upload"):
        pass
    return chunks


def check_source(storage: Storage, key: str, item: Item, checkpoint: Callable[[], None]) -> None:
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
