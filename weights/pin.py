"""Pinning of a spec's models to exact weights, which are put into the store for the workers."""

from __future__ import annotations

from pathlib import Path

import msgspec

from contract import keys
from contract.errors import UsageError
from contract.job import Spec, Weights
from contract.settings import Settings
from stores.storage import Storage
from weights import catalog, licence
from weights.catalog import Catalog, Entry
from weights.fetch import Fetched, cached, fetch
from weights.transport import Progress

_UNKNOWN = "0" * 64


def resolve(spec: Spec, settings: Settings) -> Spec:
    """Return `spec` with the catalog's names in place of aliases and other spellings, so that equal jobs have equal specs."""
    known = catalog.load(settings)
    face = spec.face and msgspec.structs.replace(spec.face, model=known.find(spec.face.model, ("face",)).name)
    return msgspec.structs.replace(spec, model=known.find(spec.model, ("generator",)).name, face=face)


def needed(spec: Spec, known: Catalog, settings: Settings) -> list[tuple[str, Entry]]:
    """Return the entries that `spec` needs, with their roles: generator, denoise, face, detector.

    The detector is RetinaFace if its file is in the cache already, else CenterFace.
    Raises WeightsError for unknown models and UsageError for `denoise` on a generator without a twin.
    """
    generator = known.find(spec.model, ("generator",))
    parts = [("generator", generator)] if generator.sources else []
    if spec.denoise is not None:
        if generator.twin is None:
            with_twin = ", ".join(e.name for e in known.entries if e.twin)
            raise UsageError(f"denoise is {spec.denoise}, but {generator.name} has no denoising twin; use {with_twin}.")
        parts.append(("denoise", known.find(generator.twin, ("generator",))))
    if spec.faces is not None:  # None at strength 0 too, where nothing is restored and no weights are needed
        parts.append(("face", known.find(spec.faces.model, ("face",))))
        retina, centre = (known.find(name, ("detector",)) for name in ("RetinaFace", "CenterFace"))
        parts.append(("detector", retina if cached(retina, settings) else centre))
    return parts


def describe(entry: Entry, found: Fetched, role: str = "generator") -> Weights:
    """Return the pin of a fetched file: the exact weights that a spec names."""
    return Weights(
        role=role,
        name=entry.name,
        sha256=found.sha256,
        architecture=entry.architecture,
        parameters=entry.parameters,
        licence=entry.licence,
        origin=found.origin,
        suffix=entry.suffix,
    )


def foreseen(spec: Spec, settings: Settings) -> Spec:
    """Return `spec` with the weights that `pin` will find, as far as the catalog knows them; nothing is fetched.

    Its chunks are as long as those of the job. The hashes are of a source, or zeros, and the origins are empty: no job is submitted with it.
    """
    parts = needed(spec, catalog.load(settings), settings)
    found = ((role, entry, Fetched(Path(), entry.sources[0].sha256 or _UNKNOWN, "")) for role, entry in parts)
    return msgspec.structs.replace(spec, weights=tuple(describe(entry, file, role) for role, entry, file in found))


def upload(entry: Entry, found: Fetched, storage: Storage) -> None:
    """Put a fetched file into the store under its hash, unless it is there."""
    key = keys.weights(found.sha256, entry.suffix)
    # The stored hash counts, not the name: other bytes under this key are replaced.
    if storage.stat(key) != (found.path.stat().st_size, found.sha256):
        storage.put_file(key, found.path, found.sha256)


def pin(
    spec: Spec, storage: Storage, settings: Settings, progress: Progress | None = None, notes: list[str] | None = None
) -> tuple[Weights, ...]:
    """Fetch the weights that `spec` needs, upload those that the store lacks, and return them for `spec.weights`.

    Licences are checked against `settings.licence_policy` before anything is fetched. Notes for the user (a source
    that failed, a damaged file replaced) are appended to `notes`. Raises WeightsError naming the missing file.
    """
    parts = needed(spec, catalog.load(settings), settings)
    for _, entry in parts:
        licence.check(entry, settings)
    pinned = []
    for role, entry in parts:
        found = fetch(entry, settings, progress)
        if notes is not None:
            notes += found.notes
        upload(entry, found, storage)
        pinned.append(describe(entry, found, role))
    return tuple(pinned)
