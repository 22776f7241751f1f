"""Trained generators: entered in the user's catalog with their parent's architecture, so that every backend runs them."""

from __future__ import annotations

import msgspec

from contract.errors import WeightsError
from contract.settings import Settings
from weights import catalog
from weights.cache import Cache, Record
from weights.catalog import Entry, Source, UserCatalog
from weights.community import free_name


def check_free(name: str, settings: Settings) -> None:
    """Raise WeightsError unless `name` can name a new generator."""
    free_name(name, catalog.load(settings))


def enter(entry: Entry, data: bytes, sha256: str, origin: str, place: str, settings: Settings) -> Entry:
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
