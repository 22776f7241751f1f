"""Trained generators: entered in the user's catalog with their parent's architecture, so that every backend runs them."""

from __future__ import annotations

import hashlib

import msgspec

from contract import keys, training
from contract.errors import WeightsError
from contract.settings import Settings
from stores.storage import Storage
from weights import catalog
from weights.cache import Cache, Record
from weights.catalog import Entry, Source, UserCatalog
from weights.community import free_name


def check_free(name: str, settings: Settings) -> None:
    """Raise WeightsError unless `name` can name a new generator."""
    free_name(name, catalog.load(settings))


def register(record: bytes, storage: Storage, settings: Settings) -> Entry:
    """Register the generator of a concluded run on this machine; registering it twice is not an error.

    `record` is the run's record.json. The weights come from the store and are held against their hash. Raises WeightsError when the
    gate refused the generator, when its weights are not those of the record, or when the name belongs to another generator.
    """
    known = msgspec.json.decode(record, type=training.Record)
    run, weights = known.run, known.weights
    if not (known.gate.passed or known.forced):
        raise WeightsError(
            f"{run.name} did not pass its gate in training run {run.id}; repeat its command with --force to register it."
        )
    key = keys.weights(weights.sha256)
    data = storage.get(key)
    if hashlib.sha256(data).hexdigest() != weights.sha256:
        raise WeightsError(f"object {key} is not what training run {run.id} stored; bring it back or train again.")
    place = keys.train_document(run.id, "record.json")
    origin = f"{weights.origin}; its record is {place} (SHA-256 {hashlib.sha256(record).hexdigest()})"
    entry = Entry(
        name=run.name,
        role="generator",
        architecture=run.architecture,  # type: ignore[arg-type]
        licence=weights.licence,
        scale=run.scale,
        parameters=run.parameters,
        notes=_notes(known),
    )
    return _enter(entry, data, weights.sha256, origin, f"s3://{storage.bucket}/{key}", settings)


def _notes(record: training.Record) -> str:
    run = record.run
    base = f"Fine-tuned from {run.parent.name}" if run.parent else "Trained from scratch"
    passed = "passed its gate" if record.gate.passed else "did NOT pass its gate and was registered by --force"
    return f"{base} by training run {run.id}; {passed}."


def _enter(entry: Entry, data: bytes, sha256: str, origin: str, place: str, settings: Settings) -> Entry:
    """Store a trained generator's safetensors file and enter it in the user's catalog; entering it twice is not an error.

    `place` is the file's place in the store, from which other machines fetch it. Raises WeightsError when the name
    belongs to another generator.
    """
    cache = Cache(settings)
    source = Source(place, sha256, size=len(data), converted=sha256)
    entry = msgspec.structs.replace(entry, sources=(source,), added=True)

    def change(user: UserCatalog) -> UserCatalog:
        known = [e for e in user.models if e.name.lower() == entry.name.lower()]
        if any(s.sha256 == sha256 for e in known for s in e.sources):
            return user
        free_name(entry.name, catalog.load(settings))
        return msgspec.structs.replace(user, models=(*user.models, entry))

    try:
        part = cache.root / f"partial/{sha256}.safetensors"
        part.write_bytes(data)
        cache.adopt(part, sha256, "safetensors")
        cache.remember(entry, source, Record(sha256, sha256, "safetensors", origin))
        cache.update_catalog(settings, change)
    except OSError as error:
        raise WeightsError(
            f"{entry.name} cannot be stored in {cache.root}: {error.strerror or error}; free space there."
        ) from error
    return entry
