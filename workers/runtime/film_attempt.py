"""An attempt at a chunk of a film: fetch the run, enhance it, store the encoded chunk."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from contract import keys
from contract.errors import EnhanceError, IntegrityError
from contract.job import Chunk, Damage, Done, Output, Spec
from contract.packets import RunReader
from contract.severity import losses, plain
from stores.storage import Storage
from workers.runtime.attempt_record import StoredAttempt
from workers.runtime.heartbeat import HeldLease

if TYPE_CHECKING:
    from workers.faces.enhance import FaceRestorer
    from workers.film.chunk import FilmResult
    from workers.film.share import Share
    from workers.generators.enhancer import Enhancer


class FilmAttempt:
    """The part of a worker process that handles chunks of films."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def make(
        self,
        held: HeldLease,
        chunk: Chunk,
        spec: Spec,
        networks: tuple[Enhancer | None, FaceRestorer | None],
        folder: Path,
        share: Share,
    ) -> Generator[None, None, StoredAttempt]:
        """Enhance and store the chunk's frames; `folder` is scratch space. Errors of all stages are passed on.

        Yields as `film_stages` does.
        """
        from workers.film.chunk import film_stages

        lease, (enhancer, faces) = held.lease, networks
        run, out = folder / "run", folder / "out"
        masks = folder / "masks" if spec.masks else None
        began = time.monotonic()
        self._fetch(lease.job, chunk, run)
        fetched = time.monotonic()
        result = yield from film_stages(run, spec, enhancer, out, held.checkpoint, faces, masks, share)
        enhanced = time.monotonic()
        outputs = [self._stored(keys.attempt(lease.job, chunk.n, lease.attempt), out, chunk, result)]
        if masks is not None:
            outputs.append(self._stored(keys.attempt_masks(lease.job, chunk.n, lease.attempt), masks, chunk, result))
        stored = time.monotonic()
        done = Done(
            chunk=chunk.n,
            attempt=lease.attempt,
            worker=lease.worker,
            frames=result.frames,
            outputs=tuple(outputs),
            damage=tuple(Damage(chunk.item, first, count, reason) for first, count, reason in result.damage),
            notes=plain(result.notes),
            losses=losses(result.notes),
            reorder=result.reorder,
            work=chunk.work(lease.job),
            item=chunk.item,
            first=chunk.first,
            count=chunk.count,
            missing=_missing(chunk, result),
        )
        stages = {"fetch": fetched - began, "enhance": enhanced - fetched, "store": stored - enhanced}
        record: dict[str, object] = {"film": result.record}
        if result.prints is not None:
            record["fingerprints"] = result.prints
            record["looks"] = result.looks
        return StoredAttempt(done, stages, record)

    def _stored(self, key: str, file: Path, chunk: Chunk, result: FilmResult) -> Output:
        """Store a film of the chunk's frames, and read it back. The size in pixels is the result's, of the mask film too."""
        sha256 = self._storage.put_file(key, file)
        self._storage.verify(key, sha256)
        return Output(chunk.item, key, sha256, file.stat().st_size, result.frames, result.width, result.height)

    def _fetch(self, job: str, chunk: Chunk, path: Path) -> None:
        """Fetch the packets of a chunk; raise IntegrityError if they are not those of the plan."""
        key = keys.run(job, chunk.item, chunk.input) if chunk.input else keys.chunk_input(job, chunk.n)
        found = self._storage.get_file(key, path)
        with path.open("rb") as stream:
            header = RunReader(stream).header
        owner = header.owner
        foreign = owner is not None and (owner.job, owner.item) != (job, chunk.item)
        if foreign or found != (chunk.input or found) or (header.first, header.count) != (chunk.first, chunk.count):
            raise IntegrityError(
                f"object {key} holds other packets than those of {chunk.label}; `respool retry {job}` cuts the film again."
            )


def _missing(chunk: Chunk, result: FilmResult) -> int:
    """Return the number of missing owned frames; raise EnhanceError if the source is not the reason."""
    missing = chunk.count - result.frames
    if missing < 0 or (missing and not result.damage):
        raise EnhanceError(f"{result.frames} of {chunk.count} frames were made, and the source is not damaged.")
    return missing
