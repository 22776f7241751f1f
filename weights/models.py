"""The operations and results of ``respool models``, as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from contract.errors import WeightsError
from contract.settings import Settings
from stores.file_digest import file_sha256
from weights import catalog
from weights.cache import Cache
from weights.catalog import Entry
from weights.community import add
from weights.fetch import Fetched, fetch
from weights.transport import Progress

__all__ = ["Listed", "Shown", "Verified", "add", "fetch_models", "list_models", "show_model", "verify_models"]

State = Literal["ready", "absent", "unneeded"]


@dataclass(frozen=True)
class Listed:
    """One line of ``models list``. `state` is "unneeded" for models without weights; `size` is in bytes, 0 if unknown."""

    name: str
    aliases: tuple[str, ...]
    role: str
    architecture: str
    scale: int
    licence: str
    state: State
    size: int
    added: bool
    notes: str


@dataclass(frozen=True)
class Shown:
    """The result of ``models show``: the whole entry and its cached file (empty strings if there is none)."""

    entry: Entry
    state: State
    path: str
    sha256: str
    origin: str


@dataclass(frozen=True)
class Verified:
    """The result of ``models verify``: `state` is ready (the hash is right), damaged, absent or unneeded; `message` is a sentence."""

    name: str
    state: Literal["ready", "damaged", "absent", "unneeded"]
    path: str
    expected: str
    found: str
    message: str


def list_models(settings: Settings) -> list[Listed]:
    """List every model of the catalog and of the user's catalog, in order."""
    return [_listed(show) for show in (_show(entry, settings) for entry in catalog.load(settings).entries)]


def show_model(name: str, settings: Settings) -> Shown:
    """Show one model by name or alias; raise WeightsError with similar names if there is none."""
    return _show(catalog.load(settings).find(name), settings)


def fetch_models(
    names: Iterable[str],
    settings: Settings,
    progress: Progress | None = None,
    *,
    location: str | None = None,
    sha256: str | None = None,
) -> list[tuple[str, Fetched]]:
    """Fetch models by name, trying better sources than the cached file's first; `location` and `sha256` need a single name.

    Raises WeightsError at the first model that cannot be fetched; those before it stay fetched.
    """
    known = catalog.load(settings)
    entries = [known.find(name) for name in names]
    if (location or sha256) and len(entries) != 1:
        raise WeightsError(f"a location or a SHA-256 needs exactly one model, but {len(entries)} are named; name one.")
    return [
        (entry.name, fetch(entry, settings, progress, again=True, location=location, sha256=sha256))
        for entry in entries
        if entry.sources or len(entries) == 1
    ]


def verify_models(names: Iterable[str], settings: Settings) -> list[Verified]:
    """Verify the cached files of these models (of all, if none is named) against their hashes; change nothing."""
    known = catalog.load(settings)
    chosen = [known.find(name) for name in names] or list(known.entries)
    return [result for entry in chosen for result in _verify(entry, settings)]


def _show(entry: Entry, settings: Settings) -> Shown:
    cache = Cache(settings)
    for source in entry.sources:
        record = cache.find(entry, source)
        if record:
            return Shown(entry, "ready", str(cache.path(record)), record.stored, record.origin)
    return Shown(entry, "absent" if entry.sources else "unneeded", "", "", "")


def _listed(shown: Shown) -> Listed:
    entry = shown.entry
    size = Path(shown.path).stat().st_size if shown.path else next((s.size for s in entry.sources if s.size), 0)
    return Listed(
        entry.name,
        entry.aliases,
        entry.role,
        entry.architecture,
        entry.scale,
        entry.licence,
        shown.state,
        size,
        entry.added,
        entry.notes,
    )


def _verify(entry: Entry, settings: Settings) -> list[Verified]:
    cache = Cache(settings)
    results: dict[Path, Verified] = {}
    for source in entry.sources:
        record = cache.find(entry, source)
        if record is None:
            continue
        path = cache.path(record)
        expected = source.converted or record.stored
        found = file_sha256(path)
        if found == expected:
            results[path] = Verified(entry.name, "ready", str(path), expected, found, f"{entry.name} is intact.")
        else:
            results[path] = Verified(
                entry.name,
                "damaged",
                str(path),
                expected,
                found,
                f"{path} has SHA-256 {found}, but {expected} is expected; `respool models fetch {entry.name}` replaces it.",
            )
    if results:
        return list(results.values())
    if not entry.sources:
        return [Verified(entry.name, "unneeded", "", "", "", f"{entry.name} needs no weights.")]
    return [
        Verified(
            entry.name,
            "absent",
            "",
            "",
            "",
            f"{entry.name} is not in the cache; run `respool models fetch {entry.name}`.",
        )
    ]
