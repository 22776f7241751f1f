"""The parent's weights of a run, in the store and here."""

from __future__ import annotations

import hashlib
from pathlib import Path

from contract import keys
from contract.errors import WeightsError
from contract.job import Weights
from contract.settings import Settings
from contract.training import Run
from stores.atomic_files import write_atomically
from stores.file_digest import file_sha256
from stores.storage import Storage
from weights import catalog, fetch
from weights.pin import describe, upload


def pin(name: str, storage: Storage, settings: Settings) -> Weights:
    """Fetch the generator `name`, put it into the store, and return it pinned; raise WeightsError when it cannot be trained."""
    entry = catalog.load(settings).find(name, ("generator",))
    if not entry.sources:
        raise WeightsError(
            f"{entry.name} has no weights to start from; choose a generator that has, or `respool train`."
        )
    found = fetch.fetch(entry, settings)
    upload(entry, found, storage)
    return describe(entry, found)


def parent_file(run: Run, storage: Storage, settings: Settings) -> Path | None:
    """Return the parent's file, from the cache or else from the store; None for a run from scratch."""
    return None if run.parent is None else weights_file(run.parent, storage, settings)


def weights_file(weights: Weights, storage: Storage, settings: Settings) -> Path:
    """Return the file of pinned weights, whole; raise WeightsError when the store has other bytes."""
    folder = settings.cache / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{weights.sha256}.{weights.suffix}"
    if path.is_file() and file_sha256(path) == weights.sha256:
        return path
    data = storage.get(keys.weights(weights.sha256, weights.suffix))
    if hashlib.sha256(data).hexdigest() != weights.sha256:
        raise WeightsError(
            f"weights {weights.name} in the store are not those of SHA-256 {weights.sha256}; fetch them again."
        )
    write_atomically(path, data)
    return path
