"""The interface of one bucket of objects: whole objects with their SHA-256, conditional writes, ranges.

Two classes have it: `stores.storage.Storage` speaks S3, and the process that parses media asks its parent for each
object (`stores.lending.client`).
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from contract.errors import IntegrityError, Missing
from stores.object_reader import Reader

Condition = tuple[Literal["IfNoneMatch", "IfMatch"], str]
"""A header of a conditional PUT, and its value."""

ABSENT_ONLY: Condition = ("IfNoneMatch", "*")


class Entry(NamedTuple):
    """An object in a listing. `etag` changes with its bytes; for whole objects most servers give their MD5, in quotes."""

    key: str
    size: int
    etag: str


class ObjectStore(ABC):
    """One bucket. Safe to share between threads."""

    bucket: str

    def get(self, key: str) -> bytes:
        """Read a whole object and verify its SHA-256; raise Missing when absent, IntegrityError when it differs."""
        data = self.find(key)
        if data is None:
            raise missing(key, self.bucket)
        return data

    def find(self, key: str, limit: int | None = None) -> bytes | None:
        """Read as `get` does; return None without such an object, raise UsageError for more than `limit` bytes."""
        found = self.tagged(key, limit)
        return None if found is None else found[0]

    @abstractmethod
    def tagged(self, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        """Read as `find` does, with the object's ETag for `swap`."""

    def get_file(self, key: str, path: Path) -> str:
        """Stream an object into `path` (overwritten) and verify it; return its SHA-256."""
        return self.fetch_file(key, path)[0]

    @abstractmethod
    def fetch_file(self, key: str, path: Path) -> tuple[str, str]:
        """Stream an object as `get_file` does; return also the recorded SHA-256, "" without one."""

    def verify(self, key: str, sha256: str) -> None:
        """Read an object back; raise IntegrityError when its bytes are not those of `sha256`."""
        if self.fetch_file(key, Path(os.devnull)) != (sha256, sha256):
            raise IntegrityError(f"object {key} is not the one that was written (SHA-256 {sha256}); it was replaced.")

    def put(self, key: str, data: bytes, if_absent: bool = False) -> bool:
        """Write a small object; with `if_absent`, return False (and write nothing) when the key exists already.

        A caller that gets False after its own write was repeated by the network must read the object to
        learn whether it is its own.
        """
        return self.write(key, data, ABSENT_ONLY if if_absent else None)

    def swap(self, key: str, data: bytes, etag: str | None) -> bool:
        """Replace the object that `tagged` gave with `etag` (None: there was none); return False when it has changed since.

        A write that the network repeated and that met its own first copy counts as done.
        """
        condition: Condition = ABSENT_ONLY if etag is None else ("IfMatch", etag)
        return self.write(key, data, condition) or self.find(key) == data

    @abstractmethod
    def write(self, key: str, data: bytes, condition: Condition | None) -> bool:
        """Write an object; return False when `condition` does not hold."""

    @abstractmethod
    def put_file(self, key: str, path: Path, sha256: str | None = None) -> str:
        """Upload a file, in parts when it is large; return its SHA-256, by default computed of the file first."""

    @abstractmethod
    def copy(self, source: str, target: str, size: int) -> None:
        """Copy `size` bytes within the bucket, on the server's side, metadata included."""

    def size(self, key: str) -> int | None:
        """Bytes of an object, or None when it is absent."""
        found = self.stat(key)
        return found[0] if found else None

    def exists(self, key: str) -> bool:
        """Return True if the object exists."""
        return bool(self.stat(key))

    @abstractmethod
    def stat(self, key: str) -> tuple[int, str] | tuple[()]:
        """Return (bytes, recorded SHA-256) of an object, or () when it is absent."""

    def list(self, prefix: str, after: str = "") -> Iterator[tuple[str, int]]:
        """Yield (key, bytes) of every object below `prefix` whose key is greater than `after`, in key order."""
        return ((entry.key, entry.size) for entry in self.entries(prefix, after))

    @abstractmethod
    def entries(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Yield every object below `prefix` as `list` does, with its ETag; "" where the server gives none."""

    @abstractmethod
    def folders(self, prefix: str) -> Iterator[str]:
        """Yield names directly below `prefix` that have something below them."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; an absent one is no error."""

    def open(self, key: str) -> Reader:
        """Open a seekable, read-only binary stream over an object; it reads blocks of 4 MiB and keeps a few."""
        found = self.stat(key)
        if not found:
            raise missing(key, self.bucket)
        return Reader(lambda start, stop: self.read_range(key, start, stop), found[0])

    @abstractmethod
    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Read bytes `start` .. `stop` - 1 of an object."""


def missing(key: str, bucket: str) -> Missing:
    """Return the error for an object that is not there."""
    return Missing(f"object {key} is not in bucket {bucket}; it was removed, or never written.")
