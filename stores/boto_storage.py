"""S3 through boto3: whole objects with their SHA-256, one conditional PUT, and nothing else.

Every object is written with its SHA-256 in its metadata, and every whole read is verified against it, so that a byte
that flips at rest or a read that ends early becomes an error.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import boto3
import botocore.session
from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from contract.errors import IntegrityError, UsageError
from contract.settings import Settings
from stores.file_digest import file_sha256
from stores.object_store import Condition, Entry, ObjectStore, missing
from stores.s3_errors import ABSENT, BUSY, TRIES, breaks_while_streaming, code_of, translate

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CopySourceTypeDef

R = TypeVar("R")


class Upload(NamedTuple):
    """An upload in parts that has begun: the parts take space, and no listing of objects shows them."""

    key: str
    id: str
    begun: datetime


class BotoStorage(ObjectStore):
    """One bucket of an S3 server, by boto3. Safe to share between threads; build one per process."""

    def __init__(self, settings: Settings) -> None:
        self.bucket = settings.s3_bucket
        self.endpoint = settings.s3_endpoint
        config = Config(
            connect_timeout=settings.connect_timeout_s,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": TRIES},  # exponential backoff with jitter
            max_pool_connections=16,
            s3={"addressing_style": "path"},
        )
        self._core = botocore.session.get_session()
        self._session = boto3.session.Session(
            botocore_session=self._core,
            aws_access_key_id=settings.s3_access_key or None,
            aws_secret_access_key=settings.s3_secret_key or None,
            region_name=settings.s3_region,
        )
        self._client: S3Client = self._session.client("s3", endpoint_url=settings.s3_endpoint or None, config=config)
        self._transfer = TransferConfig(multipart_threshold=16 << 20, multipart_chunksize=16 << 20, max_concurrency=4)

    def ensure_bucket(self) -> None:
        """Make the bucket when it is absent; raise Unreachable when S3 does not answer or refuses the credentials."""
        try:
            self._client.head_bucket(Bucket=self.bucket)
            return
        except ClientError as error:
            if code_of(error) not in ABSENT:
                raise translate(error, self.bucket, self.endpoint) from error
        except BotoCoreError as error:
            raise translate(error, self.bucket, self.endpoint) from error
        try:
            self._client.create_bucket(Bucket=self.bucket)
        except ClientError as error:
            if code_of(error) not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise translate(error, self.bucket, self.endpoint) from error

    def tagged(self, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        """Read as `find` does, with the object's ETag for `swap`."""

        def read() -> tuple[bytes, str] | None:
            try:
                answer = self._client.get_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise
            if limit is not None and answer["ContentLength"] > limit:
                answer["Body"].close()
                raise UsageError(f"object {key} has {answer['ContentLength']} bytes; it may have {limit} at most.")
            data = answer["Body"].read()
            self._check(key, hashlib.sha256(data).hexdigest(), answer["Metadata"].get("sha256"))
            return data, answer["ETag"]

        return self._again(key, read)

    def fetch_file(self, key: str, path: Path) -> tuple[str, str]:
        """Stream an object as `get_file` does; return also the recorded SHA-256, "" without one."""

        def read() -> tuple[str, str]:
            digest = hashlib.sha256()
            answer = self._client.get_object(Bucket=self.bucket, Key=key)
            size = 0
            with path.open("wb", buffering=0) as out:
                for block in answer["Body"].iter_chunks(1 << 20):
                    digest.update(block)
                    size += len(block)
                    write_all(out, block, path)
            if size != answer["ContentLength"]:
                raise IntegrityError(
                    f"object {key} ended after {size} of {answer['ContentLength']} bytes; the read was cut short."
                )
            recorded = answer["Metadata"].get("sha256")
            self._check(key, digest.hexdigest(), recorded)
            return digest.hexdigest(), recorded or ""

        return self._again(key, read)

    def write(self, key: str, data: bytes, condition: Condition | None) -> bool:
        """Write an object; return False when `condition` does not hold."""
        headers: dict[str, Any] = dict([condition] if condition else [])
        digest = hashlib.sha256(data).hexdigest()

        def write() -> bool:
            try:
                self._client.put_object(Bucket=self.bucket, Key=key, Body=data, Metadata={"sha256": digest}, **headers)
            except ClientError as error:
                if condition and code_of(error) in ("412", "PreconditionFailed"):
                    return False
                if "IfMatch" in headers and code_of(error) in ABSENT:
                    return False
                raise
            return True

        return self._again(key, write)

    def put_file(
        self,
        key: str,
        path: Path,
        sha256: str | None = None,
        progress: Callable[[int], None] | None = None,
        ready: Callable[[], None] = lambda: None,
    ) -> str:
        """Upload a file, in parts when it is large; return its SHA-256. `progress` is called with uploaded bytes.

        `ready` is called right before each try, and raises when the object may not be written any more.
        The file is hashed first (unless `sha256` is given), so that the hash is of the file and not of what arrived.
        """
        digest = sha256 or file_sha256(path)

        def write() -> None:
            ready()
            size = path.stat().st_size
            # boto3's transfers start threads for each file, however small.
            if size < self._transfer.multipart_threshold:
                with path.open("rb") as body:
                    self._client.put_object(Bucket=self.bucket, Key=key, Body=body, Metadata={"sha256": digest})
                if progress:
                    progress(size)
                return
            try:
                self._client.upload_file(
                    str(path),
                    self.bucket,
                    key,
                    ExtraArgs={"Metadata": {"sha256": digest}},
                    Config=self._transfer,
                    Callback=progress,
                )
            except S3UploadFailedError as error:  # it wraps what went wrong in one of the parts
                raise error.__context__ or error from None

        self._again(key, write)
        return digest

    def copy(self, source: str, target: str, size: int) -> None:
        """Copy `size` bytes within the bucket, on the server's side, metadata included."""
        own: CopySourceTypeDef = {"Bucket": self.bucket, "Key": source}

        def write() -> None:
            try:
                if size < self._transfer.multipart_threshold:
                    self._client.copy_object(Bucket=self.bucket, Key=target, CopySource=own)
                else:
                    self._client.copy(own, self.bucket, target, Config=self._transfer)
            except ClientError as error:
                if code_of(error) in ABSENT - {"NoSuchBucket"}:
                    raise missing(source, self.bucket) from error  # the target is what would have been written
                raise

        self._again(target, write)

    def stat(self, key: str) -> tuple[int, str] | tuple[()]:
        """Return (bytes, recorded SHA-256) of an object, or () when it is absent."""

        def head() -> tuple[int, str] | tuple[()]:
            try:
                answer = self._client.head_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return ()
                raise
            return answer["ContentLength"], answer["Metadata"].get("sha256", "")

        return self._again(key, head)

    def entries(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Yield every object below `prefix` whose key is greater than `after`, in key order."""
        token: dict[str, Any] = {"StartAfter": after} if after else {}
        while True:
            page = self._again(
                prefix, partial(self._client.list_objects_v2, Bucket=self.bucket, Prefix=prefix, **token)
            )
            for entry in page.get("Contents", ()):
                yield Entry(entry["Key"], entry["Size"], entry.get("ETag", ""))
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def newest(self, prefix: str) -> datetime:
        """Return the time of the last write below `prefix`; the earliest time when nothing is there."""
        latest = datetime.min.replace(tzinfo=UTC)
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        try:
            for page in pages:
                latest = max([latest, *(entry["LastModified"] for entry in page.get("Contents", ()))])
        except (ClientError, BotoCoreError) as error:
            raise translate(error, self.bucket, self.endpoint, prefix) from error
        return latest

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield names directly below `prefix` that have something below them."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/")
        try:
            for page in pages:
                for entry in page.get("CommonPrefixes", ()):
                    yield entry["Prefix"][len(prefix) :].rstrip("/")
        except (ClientError, BotoCoreError) as error:
            raise translate(error, self.bucket, self.endpoint, prefix) from error

    def delete(self, key: str) -> None:
        """Remove an object; an absent one is no error."""
        self._again(key, lambda: self._client.delete_object(Bucket=self.bucket, Key=key))

    def uploads(self, prefix: str) -> Iterator[Upload]:
        """Yield the uploads in parts below `prefix` that were begun and neither completed nor aborted, by key."""
        markers: dict[str, Any] = {}
        while True:
            page = self._again(
                prefix, partial(self._client.list_multipart_uploads, Bucket=self.bucket, Prefix=prefix, **markers)
            )
            for entry in page.get("Uploads", ()):
                yield Upload(entry["Key"], entry["UploadId"], entry["Initiated"])
            if not page.get("IsTruncated"):
                return
            markers = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def upload_size(self, upload: Upload) -> int:
        """Return the bytes of the parts that an upload has stored; 0 when it has ended meanwhile."""
        pages = self._client.get_paginator("list_parts").paginate(
            Bucket=self.bucket, Key=upload.key, UploadId=upload.id
        )
        try:
            return sum(part["Size"] for page in pages for part in page.get("Parts", ()))
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and code_of(error) == "NoSuchUpload":
                return 0
            raise translate(error, self.bucket, self.endpoint, upload.key) from error

    def abort(self, upload: Upload) -> None:
        """Remove the parts of an upload; one that has ended meanwhile is no error."""

        def call() -> None:
            try:
                self._client.abort_multipart_upload(Bucket=self.bucket, Key=upload.key, UploadId=upload.id)
            except ClientError as error:
                if code_of(error) not in ("404", "NoSuchUpload"):
                    raise

        self._again(upload.key, call)

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Read bytes `start` .. `stop` - 1 of an object."""

        def read() -> bytes:
            answer = self._client.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={start}-{stop - 1}")
            data = answer["Body"].read()
            if len(data) != stop - start:
                raise IntegrityError(f"object {key} gave {len(data)} of {stop - start} bytes at {start}.")
            return data

        return self._again(key, read)

    @staticmethod
    def _check(key: str, found: str, expected: str | None) -> None:
        if expected is not None and found != expected:
            raise IntegrityError(
                f"object {key} has SHA-256 {found}, but was written with {expected}: it was damaged at rest or on the way."
            )

    def _again(self, key: str, call: Callable[[], R]) -> R:
        """Call with backoff and jitter: botocore retries requests, this retries failures while a body streams."""
        for tried in range(TRIES):
            try:
                return call()
            except (ClientError, BotoCoreError, HTTPError, IntegrityError, OSError) as error:
                final = tried == TRIES - 1
                if isinstance(error, IntegrityError):
                    if final:
                        raise
                elif isinstance(error, OSError) and error.filename is not None:
                    raise  # the local disk, not the network
                else:
                    retry = (isinstance(error, ClientError) and code_of(error) in BUSY) or breaks_while_streaming(error)
                    if final or not retry:
                        raise translate(error, self.bucket, self.endpoint, key) from error
                time.sleep(random.uniform(0, 0.1 * 2**tried))  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable")


def write_all(out: FileIO, block: bytes, path: Path) -> None:
    """Write all of `block`; raise OSError with the file's name. A full disk is named: without a file name its error would look like the network's."""
    rest = memoryview(block)
    while rest:
        try:
            rest = rest[out.write(rest) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
