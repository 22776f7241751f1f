"""The folder of fetched weights: content-addressed files, records of their origin, partial files, locks.

<cache>/weights/<sha256>.safetensors     the file that workers load (or .onnx)
<cache>/weights/records/<key>.json       the original file's hash and origin, and the hash of the stored file
<cache>/weights/partial/<key>/           a download in progress; survives an interruption and is resumed
<cache>/weights/locks/<key>              held while a file is fetched or the user's catalog is changed
<cache>/weights/catalog.json             the models and hashes that the user added
"""

from __future__ import annotations

import fcntl
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from contract.errors import WeightsError
from contract.job import Sha256
from contract.settings import Settings
from stores.atomic_files import sync, write_atomically
from weights import convert
from weights.catalog import Entry, Source, UserCatalog, read_user_catalog, user_catalog_path


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """The record of one conversion: the hashes of the original and of the stored file, and the `origin` of the original."""

    original: Sha256
    stored: Sha256
    suffix: Literal["safetensors", "onnx"]
    origin: str
    version: Literal[1] = 1


class Cache:
    """The folder `settings.cache`/weights. Raises WeightsError when it cannot be created or written."""

    def __init__(self, settings: Settings) -> None:
        self.root = settings.cache / "weights"
        try:
            for name in ("records", "partial", "locks"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WeightsError(
                f"the cache {self.root} cannot be created ({error.strerror}); set RESPOOL_CACHE to a folder you can write to."
            ) from error

    @staticmethod
    def key(entry: Entry, source: Source) -> str:
        """Return the key of a conversion: the original's hash, the architecture, and the version of the conversion."""
        return f"{source.sha256}.{entry.architecture}.{convert.VERSION}"

    def path(self, record: Record) -> Path:
        """Return the path of the stored file."""
        return self.root / f"{record.stored}.{record.suffix}"

    def find(self, entry: Entry, source: Source) -> Record | None:
        """Return the record of `source` if its file exists; the file's hash is not checked (see `fetch.fetch`)."""
        if source.sha256 is None:
            return None
        try:
            data = (self.root / "records" / f"{self.key(entry, source)}.json").read_bytes()
            record = msgspec.json.decode(data, type=Record)
        except (FileNotFoundError, msgspec.DecodeError):
            return None  # an unreadable record is written again by the next fetch
        return record if self.path(record).is_file() else None

    def remember(self, entry: Entry, source: Source, record: Record) -> None:
        """Write the record of `source`."""
        path = self.root / "records" / f"{self.key(entry, source)}.json"
        write_atomically(path, msgspec.json.encode(record), durable=True, private=True)

    def forget(self, record: Record) -> None:
        """Remove a damaged stored file; `find` ignores its record from then on."""
        self.path(record).unlink(missing_ok=True)

    def adopt(self, file: Path, sha256: str, suffix: str) -> Path:
        """Move a finished file, which is on disk already, to the name of its hash; return the new path."""
        path = self.root / f"{sha256}.{suffix}"
        file.replace(path)
        sync(self.root)
        return path

    def partial(self, key: str, name: str) -> Path:
        """Return the path of a download in progress; the file name `name` is untrusted and made safe."""
        safe = re.sub(r"[^A-Za-z0-9._+-]", "_", name).lstrip(".")[-100:] or "file"
        folder = self.root / "partial" / key
        folder.mkdir(exist_ok=True)
        return folder / safe

    def clear_partial(self, key: str) -> None:
        """Remove the partial files of a finished download."""
        shutil.rmtree(self.root / "partial" / key)

    def update_catalog(self, settings: Settings, change: Callable[[UserCatalog], UserCatalog]) -> None:
        """Replace the user's catalog by the result of `change`; if `change` raises, nothing is written."""
        with self.lock("catalog"):
            body = msgspec.json.encode(change(read_user_catalog(settings)))
            write_atomically(user_catalog_path(settings), body, durable=True, private=True)

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold the lock `key` against other processes and threads; the operating system releases it when its holder dies."""
        with (self.root / "locks" / key).open("wb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
