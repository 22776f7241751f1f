"""Fetching of a model's file: sources are tried in order; the file is verified, converted, and stored under its hash."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import msgspec

from contract.errors import WeightsError
from contract.settings import Settings
from stores.file_digest import file_sha256
from weights import convert, transport
from weights.cache import Cache, Record
from weights.catalog import Entry, Source, UserCatalog
from weights.transport import Progress


@dataclass(frozen=True)
class Fetched:
    """A local file of weights, just verified against `sha256`.

    `origin` names the original file, its source and its hash. `notes` are for the user: sources that failed before one answered, or
    a damaged file in the cache that was replaced.
    """

    path: Path
    sha256: str
    origin: str
    notes: tuple[str, ...] = ()


def fetch(
    entry: Entry,
    settings: Settings,
    progress: Progress | None = None,
    *,
    again: bool = False,
    location: str | None = None,
    sha256: str | None = None,
) -> Fetched:
    """Return the file of `entry`, from the cache or from the first source that has it.

    A cached file of any source is used; with `again`, the sources listed before that one are
    tried first. `location` is another place for the same file, tried instead of the catalog's sources. `sha256` is the hash
    that the user vouches for where the catalog has none; it is stored. Safe to call from several processes at
    once. Raises WeightsError with the reason of every source.
    """
    if not entry.sources:
        raise WeightsError(f"{entry.name} needs no weights; there is nothing to fetch.")
    cache = Cache(settings)
    sha256 = sha256.strip().lower() if sha256 is not None else None
    sources = _sources(entry, location, sha256)
    notes: list[str] = []
    reasons: list[str] = []
    found = None if again else next(filter(None, (_cached(entry, s, cache, notes) for s in sources)), None)
    for source in () if found else sources:
        try:
            found = _cached(entry, source, cache, notes) or _obtain(entry, source, cache, settings, progress, notes)
            break
        except WeightsError as error:
            reasons.append(str(error).rstrip("."))
    if found is None:
        raise WeightsError(
            f"{entry.file} for {entry.name} could not be fetched: {'; '.join(reasons)}. With network access run "
            f"`respool models fetch {entry.name}`, or copy the file to this machine and run `respool models add {entry.file}`."
        )
    if reasons:
        notes.append(f"{entry.name} comes from {found.origin}, because {'; '.join(reasons)}.")
    if sha256 is not None and entry.sources[0].sha256 is None:
        _remember_hash(entry, sha256, cache, settings)
    return replace(found, notes=tuple(dict.fromkeys(notes)))


def cached(entry: Entry, settings: Settings) -> bool:
    """Return whether a file of `entry` is in the cache; only `fetch` verifies its hash."""
    cache = Cache(settings)
    return any(cache.find(entry, source) for source in entry.sources)


def _sources(entry: Entry, location: str | None, sha256: str | None) -> tuple[Source, ...]:
    """Return the sources to try, with the user's hash where the catalog has none."""
    sources = entry.sources
    if sha256 is not None:
        known = {source.sha256 for source in sources if source.sha256}
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise WeightsError(f"{sha256[:80]!r} is not a SHA-256; give 64 hexadecimal digits.")
        if known and sha256 not in known:
            raise WeightsError(
                f"{entry.name} has the SHA-256 {' or '.join(sorted(known))}, not {sha256}; "
                "add another file under its own name with `respool models add FILE --name NAME`."
            )
        sources = tuple(s if s.sha256 else msgspec.structs.replace(s, sha256=sha256) for s in sources)
    if location is None:
        return sources
    alike = [s for s in sources if _kind(s.at) == _kind(location) and sha256 in (None, s.sha256)]
    if not alike:
        raise WeightsError(
            f"{location[:200]} cannot be verified against any file that the catalog lists for {entry.name}; "
            f"name a file of the same type as {entry.file}."
        )
    return (msgspec.structs.replace(alike[0], at=location),)


def _kind(at: str) -> str:
    return PurePosixPath(transport.file_name(at)).suffix.lower()


def _remember_hash(entry: Entry, sha256: str, cache: Cache, settings: Settings) -> None:
    def change(user: UserCatalog) -> UserCatalog:
        return msgspec.structs.replace(user, hashes={**user.hashes, entry.name: sha256})

    cache.update_catalog(settings, change)


def _cached(entry: Entry, source: Source, cache: Cache, notes: list[str]) -> Fetched | None:
    """Return the cached file of `source` if its hash is right; remove a damaged file, with a note."""
    record = cache.find(entry, source)
    if record is None:
        return None
    path = cache.path(record)
    expected = source.converted or record.stored
    found = file_sha256(path)
    if found == expected:
        return Fetched(path, found, record.origin)
    notes.append(f"{path} was damaged (SHA-256 {found} instead of {expected}) and is fetched again.")
    cache.forget(record)
    return None


def _obtain(
    entry: Entry, source: Source, cache: Cache, settings: Settings, progress: Progress | None, notes: list[str]
) -> Fetched:
    if source.sha256 is None:
        raise WeightsError(
            f"{source.at} has no published SHA-256 to verify it with; "
            f"get the hash from somebody you trust and give it with `respool models fetch {entry.name} --sha256 HEX`"
        )
    key = cache.key(entry, source)
    try:
        with cache.lock(key):
            found = _cached(entry, source, cache, notes)  # another process may have fetched it meanwhile
            if found:
                return found
            original, graph = _original(source, key, cache, settings, progress)
            with tempfile.TemporaryDirectory(dir=cache.root, prefix=".convert-") as folder:
                target = Path(folder) / original.name
                stored = convert.convert(original, _kind(source.at), entry, target, graph)
                if source.converted not in (None, stored):
                    raise WeightsError(
                        f"{entry.name} converted from {source.at} has SHA-256 {stored}, but {source.converted} is "
                        "expected: this version of Respool converts differently; update the catalog with it"
                    )
                path = cache.adopt(target, stored, entry.suffix)
            origin = f"{source.at} (SHA-256 {source.sha256})"
            cache.remember(entry, source, Record(source.sha256, stored, entry.suffix, origin))
            cache.clear_partial(key)
    except OSError as error:
        raise WeightsError(f"{source.at} cannot be stored in {cache.root}: {error.strerror or error}") from error
    return Fetched(path, stored, origin)


def _original(
    source: Source, key: str, cache: Cache, settings: Settings, progress: Progress | None
) -> tuple[Path, Path | None]:
    """Obtain and verify the released file and, for an ncnn file, the graph beside it."""
    original = cache.partial(key, transport.file_name(source.at))
    expected = {original: source.sha256}
    targets = {source.at: original}
    graph = None
    if source.graph:
        graph = original.with_suffix(".param")
        targets[source.at.removesuffix(".bin") + ".param"] = graph
        expected[graph] = source.graph
    resumed = original.exists()
    transport.obtain(targets, source.size, settings, progress)
    wrong = _wrong(expected)
    if wrong and resumed:  # the resumed part may belong to another file, so start again
        original.unlink()
        transport.obtain(targets, source.size, settings, progress)
        wrong = _wrong(expected)
    if wrong:
        path, found = wrong
        for file in expected:
            file.unlink(missing_ok=True)
        raise WeightsError(
            f"{path.name} from {source.at} has SHA-256 {found}, but {expected[path]} is expected; the file was discarded"
        )
    return original, graph


def _wrong(expected: dict[Path, str | None]) -> tuple[Path, str] | None:
    for path, sha256 in expected.items():
        found = file_sha256(path)
        if found != sha256:
            return path, found
    return None
