"""S3 as every process uses it: small calls by obstore where that is certain, everything else by boto3."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from contract.settings import Settings
from stores.boto_storage import BotoStorage, write_all
from stores.file_digest import file_sha256
from stores.object_store import Condition, Entry
from stores.quick_s3 import LARGEST, Found, QuickS3, Unsure

R = TypeVar("R")


class Storage(BotoStorage):
    """One bucket of an S3 server. Safe to share between threads; build one per process.

    Each call is first made by obstore, once; where that is not certain (Unsure), boto3 makes it anew, with its own repeats. So a call
    may take effect twice, as it may whenever a client repeats one whose answer was lost.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        authority = bool(self._core.get_config_variable("ca_bundle"))
        self._quick: QuickS3 | None = QuickS3(self.bucket, self._client, self._session, authority)

    def _either(self, quick: Callable[[QuickS3], R], slow: Callable[[], R]) -> R:
        if self._quick:
            try:
                return quick(self._quick)
            except Unsure:
                pass  # the other way is taken
        return slow()

    def tagged(self, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        """Read as `find` does, with the object's ETag for `swap`."""

        def quick(s3: QuickS3) -> tuple[bytes, str] | None:
            found = s3.read(key)
            if found is None:
                return None
            if limit is not None and found.size > limit:
                raise Unsure
            return _sound(found).data, found.etag

        return self._either(quick, lambda: super(Storage, self).tagged(key, limit))

    def fetch_file(self, key: str, path: Path) -> tuple[str, str]:
        """Stream an object as `get_file` does; return also the recorded SHA-256, "" without one."""

        def quick(s3: QuickS3) -> tuple[str, str]:
            found = s3.read(key)
            if found is None:
                raise Unsure
            data = _sound(found).data
            with path.open("wb", buffering=0) as out:
                write_all(out, data, path)
            return hashlib.sha256(data).hexdigest(), found.sha256 or ""

        return self._either(quick, lambda: super(Storage, self).fetch_file(key, path))

    def write(self, key: str, data: bytes, condition: Condition | None) -> bool:
        """Write an object; return False when `condition` does not hold."""

        def quick(s3: QuickS3) -> bool:
            if len(data) > LARGEST:
                raise Unsure  # before it is hashed
            return s3.write(key, data, hashlib.sha256(data).hexdigest(), condition)

        return self._either(quick, lambda: super(Storage, self).write(key, data, condition))

    def put_file(
        self,
        key: str,
        path: Path,
        sha256: str | None = None,
        progress: Callable[[int], None] | None = None,
        ready: Callable[[], None] = lambda: None,
    ) -> str:
        """Upload a file as `BotoStorage.put_file` does."""
        digest = sha256 or file_sha256(path)

        def quick(s3: QuickS3) -> str:
            if path.stat().st_size > LARGEST:
                raise Unsure
            ready()
            data = path.read_bytes()
            s3.write(key, data, digest, None)
            if progress:
                progress(len(data))
            return digest

        return self._either(quick, lambda: super(Storage, self).put_file(key, path, digest, progress, ready))

    def copy(self, source: str, target: str, size: int) -> None:
        """Copy `size` bytes within the bucket, on the server's side, metadata included."""

        def quick(s3: QuickS3) -> None:
            if size > LARGEST:
                raise Unsure
            s3.copy(source, target)

        self._either(quick, lambda: super(Storage, self).copy(source, target, size))

    def stat(self, key: str) -> tuple[int, str] | tuple[()]:
        """Return (bytes, recorded SHA-256) of an object, or () when it is absent."""

        def quick(s3: QuickS3) -> tuple[int, str] | tuple[()]:
            found = s3.read(key, head=True)
            return (found.size, found.sha256 or "") if found else ()

        return self._either(quick, lambda: super(Storage, self).stat(key))

    def entries(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Yield every object below `prefix` whose key is greater than `after`, in key order."""
        if self._quick:
            try:
                for entry in self._quick.entries(prefix, after):
                    yield entry
                    after = entry.key
                return
            except Unsure:
                pass  # boto3 goes on after the last one
        yield from super().entries(prefix, after)

    def delete(self, key: str) -> None:
        """Remove an object; an absent one is no error."""
        self._either(lambda s3: s3.delete(key), lambda: super(Storage, self).delete(key))


def _sound(found: Found) -> Found:
    """Return what was found; raise Unsure when its bytes are not those of its record, so that it is read again."""
    if found.sha256 is not None and found.sha256 != hashlib.sha256(found.data).hexdigest():
        raise Unsure
    return found
