"""An attempt at a chunk of images, or at a band of a large one: fetch, enhance and store each."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from contract.errors import Cancelled, EnhanceError, PermanentError, RespoolError
from contract.job import Chunk, Damage, Done, Item, ItemFailure, Job
from contract.provenance import making
from contract.severity import about, losses, plain
from stores.ledger import Lease, Ledger
from stores.storage import Storage
from workers.runtime.attempt_record import StoredAttempt
from workers.runtime.heartbeat import HeldLease
from workers.runtime.image_transfer import ImageTransfer

if TYPE_CHECKING:
    from workers.checkpoint import Checkpoint
    from workers.faces.enhance import FaceRestorer
    from workers.generators.enhancer import Enhancer
    from workers.images.image import ImageResult
    from workers.runtime.job_cache import JobCache

logger = logging.getLogger(__name__)


class ImageAttempt:
    """The part of a worker process that handles chunks of images."""

    def __init__(self, storage: Storage, ledger: Ledger, cache: JobCache) -> None:
        self._storage, self._ledger, self._cache = storage, ledger, cache

    def make(
        self, held: HeldLease, chunk: Chunk, job: Job, networks: tuple[Enhancer, FaceRestorer | None], folder: Path
    ) -> StoredAttempt:
        """Enhance and store the chunk's images; `folder` is scratch space.

        An image that cannot be enhanced is reported in the commit; faults of the worker or its services are raised.
        """
        lease = held.lease
        failures: list[ItemFailure] = []
        damage: list[Damage] = []
        notes: list[str] = []
        records: dict[str, object] = {}
        enhancing = 0.0
        with ImageTransfer(self._storage, lease, folder) as transfer:
            items = job.items[chunk.first : chunk.first + chunk.count]
            banded = chunk.bands > 1  # its source is kept between bands
            wanted = ((item, None) for item in items) if banded else transfer.sources(items)
            for ready, (item, source) in enumerate(wanted):
                held.checkpoint(ready)
                try:
                    path = self._cache.banded_source(lease.job, item) if source is None else source.result()
                    began = time.monotonic()
                    result = self._enhance(job, item, chunk, networks, (path, transfer.out(item)), held.checkpoint)
                except Exception as error:
                    reason = self._item_failure(lease, error)
                    if reason is None:
                        raise
                    failures.append(ItemFailure(item.n, item.name, reason))
                    continue
                enhancing += time.monotonic() - began
                transfer.store(item, result.width, result.height)
                damage += [Damage(item.n, 0, 1, reason) for reason in result.damage]
                notes += about(f"{item.name}: ", result.notes)
                records[str(item.n)] = result.record
            outputs = transfer.stored()
        done = Done(
            chunk=chunk.n,
            attempt=lease.attempt,
            worker=lease.worker,
            frames=chunk.count,
            outputs=outputs,
            failures=tuple(failures),
            damage=tuple(damage),
            notes=plain(notes),
            losses=losses(notes),
            work=chunk.work(lease.job),
            item=chunk.item,
            first=chunk.first,
            count=chunk.count,
        )
        return StoredAttempt(done, {"enhance": enhancing}, {"images": records})

    def _enhance(
        self,
        job: Job,
        item: Item,
        chunk: Chunk,
        networks: tuple[Enhancer, FaceRestorer | None],
        paths: tuple[Path, Path],
        checkpoint: Checkpoint,
    ) -> ImageResult:
        from workers.images.image import enhance_band, enhance_image

        (enhancer, faces), (source, out) = networks, paths
        if chunk.bands > 1:
            band = chunk.band, chunk.bands
            return enhance_band(source, item.result, job.spec, enhancer, out, checkpoint, band)
        provenance = making(job, item, enhancer.device, enhancer.precision, enhancer.backend)
        return enhance_image(source, item.result, job.spec, enhancer, out, checkpoint, provenance, faces)

    def _item_failure(self, lease: Lease, error: Exception) -> str | None:
        """Return the reason to give up one image while the others continue; None if `error` does not concern the image."""
        if isinstance(
            error, EnhanceError
        ):  # what one device cannot do, another worker's may: these get the chunk first
            before = self._ledger.reasons(lease.job, lease.chunk)
            if not any(EnhanceError.__name__ in reason for reason in before):
                return None
        if isinstance(error, PermanentError):
            return None if isinstance(error, Cancelled) else str(error)
        if isinstance(error, (RespoolError, OSError, MemoryError)):
            return None
        if not self._ledger.tries(lease.job, lease.chunk):  # at a library's first error the chunk is tried again
            return None
        logger.error("image given up", extra=lease.about, exc_info=error)
        return f"{type(error).__name__}: {error}"
