"""From a spec that names models to the weights that it is pinned to, in the store where workers find them."""

from __future__ import annotations

import msgspec

from contract import keys
from contract.errors import UsageError
from contract.job import Spec, Weights
from contract.settings import Settings
from stores.storage import Storage
from weights import catalog, licence
from weights.catalog import Catalog, Entry
from weights.fetch import cached, fetch
from weights.transport import Progress


def resolve(spec: Spec, settings: Settings) -> Spec:
    """`spec` with the catalog's own names in place of aliases and other cases, so that one job has one spec."""
    known = catalog.load(settings)
    face = spec.face and msgspec.structs.replace(spec.face, model=known.find(spec.face.model, ("face",)).name)
    return msgspec.structs.replace(spec, model=known.find(spec.model, ("generator",)).name, face=face)


def needed(spec: Spec, known: Catalog, settings: Settings) -> list[tuple[str, Entry]]:
    """The entries that `spec` needs, with the part each one plays: generator, denoise, face, detector.

    RetinaFace finds the faces where its file is here already, else CenterFace does.
    Raises WeightsError for unknown models and UsageError for `denoise` on a generator that has no twin.
    """
    generator = known.find(spec.model, ("generator",))
    parts = [("generator", generator)] if generator.sources else []
    if spec.denoise is not None:
        if generator.twin is None:
            able = ", ".join(e.name for e in known.entries if e.twin)
            raise UsageError(f"denoise is {spec.denoise}, but {generator.name} has no denoising twin; use {able}.")
        parts.append(("denoise", known.find(generator.twin, ("generator",))))
    if spec.faces is not None:  # at strength 0 nothing is restored, and nothing is wanted for it
        parts.append(("face", known.find(spec.faces.model, ("face",))))
        retina, centre = (known.find(name, ("detector",)) for name in ("RetinaFace", "CenterFace"))
        parts.append(("detector", retina if cached(retina, settings) else centre))
    return parts


def pin(
    spec: Spec, storage: Storage, settings: Settings, progress: Progress | None = None, notes: list[str] | None = None
) -> tuple[Weights, ...]:
    """Fetch what `spec` needs, put it in the store where it is not there yet, and return it for `spec.weights`.

    Licences are held against `settings.licence_policy` before anything is fetched. What the user should know (a source
    that failed, a damaged file replaced) is appended to `notes`. Raises WeightsError naming the missing file.
    """
    parts = needed(spec, catalog.load(settings), settings)
    for _, entry in parts:
        licence.check(entry, settings)
    pinned = []
    for role, entry in parts:
        found = fetch(entry, settings, progress)
        if notes is not None:
            notes += found.notes
        key = keys.weights(found.sha256, entry.suffix)
        # The recorded hash counts, not the name: an upload of other bytes under this key is replaced.
        if storage.stat(key) != (found.path.stat().st_size, found.sha256):
            storage.put_file(key, found.path, found.sha256)
        pinned.append(
            Weights(
                role=role,
                name=entry.name,
                sha256=found.sha256,
                architecture=entry.architecture,
                parameters=entry.parameters,
                licence=entry.licence,
                origin=found.origin,
                suffix=entry.suffix,
            )
        )
    return tuple(pinned)
