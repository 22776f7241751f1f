"""The folder of fetched weights: content-addressed files, records of where they came from, partial files, locks.

<cache>/weights/<sha256>.safetensors     what workers load (or .onnx)
<cache>/weights/records/<key>.json       which original became which file, and where the original was
<cache>/weights/partial/<key>/           a download on its way; survives an interruption and is resumed
<cache>/weights/locks/<key>              held while a file is fetched or the user's catalog is changed
<cache>/weights/catalog.json             what the user added
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from contract.errors import WeightsError
from contract.job import Sha256
from contract.settings import Settings
from weights import convert
from weights.catalog import Entry, Source, UserCatalog, read_user_catalog, user_catalog_path


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """How one original file became one stored file. `origin` is the place that it was read from."""

    original: Sha256
    stored: Sha256
    suffix: Literal["safetensors", "onnx"]
    origin: str
    version: Literal[1] = 1


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` with `data`, on disk before the name changes, so that a crash leaves the old or the new file."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp", delete=False) as out:
        temporary = Path(out.name)
        try:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in `folder` on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Cache:
    """The folder `settings.cache`/weights. Raises WeightsError when it cannot be made or written."""

    def __init__(self, settings: Settings) -> None:
        self.root = settings.cache / "weights"
        try:
            for name in ("records", "partial", "locks"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WeightsError(
                f"the cache {self.root} cannot be made ({error.strerror}); set RESPOOL_CACHE to a folder you can write."
            ) from error

    @staticmethod
    def key(entry: Entry, source: Source) -> str:
        """Names a conversion: the original's hash, what it is read as, and the version of our conversion."""
        return f"{source.sha256}.{entry.architecture}.{convert.VERSION}"

    def path(self, record: Record) -> Path:
        return self.root / f"{record.stored}.{record.suffix}"

    def find(self, entry: Entry, source: Source) -> Record | None:
        """The record of `source` when its file is here (not held against its hash: see `fetch.verify`)."""
        if source.sha256 is None:
            return None
        try:
            data = (self.root / "records" / f"{self.key(entry, source)}.json").read_bytes()
            record = msgspec.json.decode(data, type=Record)
        except (FileNotFoundError, msgspec.DecodeError):
            return None  # a record that cannot be read is made again
        return record if self.path(record).is_file() else None

    def remember(self, entry: Entry, source: Source, record: Record) -> None:
        write_atomically(self.root / "records" / f"{self.key(entry, source)}.json", msgspec.json.encode(record))

    def forget(self, record: Record) -> None:
        """Remove a stored file that turned out damaged; its record is of no use without it."""
        self.path(record).unlink(missing_ok=True)

    def adopt(self, file: Path, sha256: str, suffix: str) -> Path:
        """Move a finished file (already on disk) to the name of its content."""
        path = self.root / f"{sha256}.{suffix}"
        file.replace(path)
        sync_folder(self.root)
        return path

    def partial(self, key: str, name: str) -> Path:
        """Where a download with the file name `name` (which others chose) grows."""
        safe = re.sub(r"[^A-Za-z0-9._+-]", "_", name).lstrip(".")[-100:] or "file"
        folder = self.root / "partial" / key
        folder.mkdir(exist_ok=True)
        return folder / safe

    def clear_partial(self, key: str) -> None:
        shutil.rmtree(self.root / "partial" / key)

    def update_catalog(self, settings: Settings, change: Callable[[UserCatalog], UserCatalog]) -> None:
        """Replace the user's catalog by what `change` makes of it; when `change` raises, nothing is written."""
        with self.lock("catalog"):
            write_atomically(user_catalog_path(settings), msgspec.json.encode(change(read_user_catalog(settings))))

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold `key` against other processes and threads; the system lets go of it when its holder dies."""
        with (self.root / "locks" / key).open("wb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
