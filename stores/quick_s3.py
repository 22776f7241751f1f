"""Small calls to S3 by obstore, which take a tenth of the processor time that boto3 takes for them.

Each call is tried once and gives an answer that is certain, or raises Unsure: the caller then makes it by boto3, which knows how to
repeat it and what each refusal means for the user.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from stores.object_store import Condition, Entry

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from obstore.store import S3Store

LARGEST = 1 << 20
"""Bytes of the largest object that goes this way: what is larger is read and written in blocks, by boto3."""

_TIMEOUT = timedelta(seconds=10)
"""For one call and its body. An interrupt is taken when a call has ended, so that it is short."""

_CREDENTIALS = timedelta(minutes=5)
"""Time after which boto3 is asked for the credentials again; it renews temporary ones ten minutes or more before their end."""

_REST_S = 30.0
"""After a failure all calls are boto3's for so long: a server in trouble is not asked twice for each object."""

_LOADED_AFTER = 16
"""Calls that a process makes by boto3 first. Loading takes 20 ms, which commands that make a few calls do not get back."""

_FIT = re.compile(r"(?!.*(?:^|/)\.{0,2}(?:/|$))[^\x00-\x1f\x7f\\]+")
"""Keys that mean the same object to both libraries: no control characters or backslashes, no part that is empty, "." or ".."."""


class Unsure(Exception):
    """Raised where a call was not made, or where nobody knows if it had an effect."""


class Found(NamedTuple):
    """A whole object: its bytes (none of them when only its head was asked for), their number, SHA-256 on record and ETag."""

    data: bytes
    size: int
    sha256: str | None
    etag: str


class QuickS3:
    """The calls for one bucket. Safe to share between threads; a forked child makes none of them."""

    def __init__(self, bucket: str, client: S3Client, session: boto3.session.Session, authority: bool) -> None:
        """`client` and `session` are boto3's; `authority` says that they trust certificates of a file of the user's."""
        self._bucket, self._client, self._session = bucket, client, session
        self._authority = authority
        self._calls, self._rests_until = 0, 0.0
        self._process = os.getpid()  # the library's threads are not in a forked child
        self._store: S3Store | None = None
        self._library: Any = None
        self._errors: tuple[type[Exception], ...] = ()

    def read(self, key: str, head: bool = False) -> Found | None:
        """Return an object of at most LARGEST bytes, None when it is absent; with `head`, one of any size without its bytes."""
        store = self._ready(key)
        try:
            answer = self._library.get(store, key, options={"head": head})
            size, etag = answer.meta["size"], answer.meta["e_tag"]
            if (size > LARGEST and not head) or etag is None:
                raise Unsure
            data = b"" if head else bytes(answer.bytes())
            return Found(data, size, answer.attributes.get("sha256"), etag)
        except FileNotFoundError:
            return None
        except self._errors as error:
            raise self._failed() from error

    def write(self, key: str, data: bytes, sha256: str, condition: Condition | None) -> bool:
        """Write an object of at most LARGEST bytes; return False when `condition` does not hold."""
        if len(data) > LARGEST:
            raise Unsure
        store = self._ready(key)
        mode: Any = "overwrite"
        if condition:
            mode = "create" if condition[0] == "IfNoneMatch" else {"e_tag": condition[1]}
        refused = self._library.exceptions.AlreadyExistsError, self._library.exceptions.PreconditionError
        try:
            self._library.put(store, key, data, attributes={"sha256": sha256}, mode=mode, use_multipart=False)
        except refused:
            return False
        except FileNotFoundError as error:  # the bucket, or what was to be replaced
            raise Unsure from error
        except self._errors as error:
            raise self._failed() from error
        return True

    def copy(self, source: str, target: str) -> None:
        """Copy an object within the bucket, on the server's side, metadata included."""
        self._ready(source)
        store = self._ready(target)
        try:
            self._library.copy(store, source, target)
        except FileNotFoundError as error:
            raise Unsure from error
        except self._errors as error:
            raise self._failed() from error

    def delete(self, key: str) -> None:
        """Remove an object; an absent one is no error."""
        store = self._ready(key)
        try:
            self._library.delete(store, key)
        except FileNotFoundError as error:
            raise Unsure from error
        except self._errors as error:
            raise self._failed() from error

    def entries(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Yield objects as `Storage.entries` does; Unsure may come after some of them."""
        if not prefix.endswith("/"):
            raise Unsure  # the library's prefixes end at a slash
        store = self._ready(after or prefix + "x")
        try:
            for page in self._library.list(store, prefix, offset=after or None, chunk_size=1000):
                for entry in page:
                    yield Entry(entry["path"], entry["size"], entry["e_tag"] or "")
        except self._errors as error:
            raise self._failed() from error

    def _ready(self, key: str) -> S3Store:
        """Return the store for a call about `key`; raise Unsure where boto3 makes this one."""
        self._calls += 1
        if self._calls <= _LOADED_AFTER or time.monotonic() < self._rests_until or os.getpid() != self._process:
            raise Unsure
        if not _FIT.fullmatch(key):
            raise Unsure
        if self._store is None:
            self._store = self._opened()
        return self._store

    def _failed(self) -> Unsure:
        self._rests_until = time.monotonic() + _REST_S
        return Unsure()

    def _opened(self) -> S3Store:
        """Load the library and open the bucket with boto3's own endpoint, region and credentials."""
        import obstore.exceptions
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store

        meta = self._client.meta
        if self._session.get_credentials() is None or (self._authority and meta.endpoint_url.startswith("https:")):
            self._rests_until = math.inf  # boto3 says what is missing; it alone knows that file
            raise Unsure
        self._library = obstore
        # Credentials are fetched by boto3, from within a call.
        self._errors = (obstore.exceptions.BaseError, OSError, ValueError, BotoCoreError, ClientError)
        return S3Store(
            self._bucket,
            config={
                "endpoint": meta.endpoint_url,
                "region": meta.region_name,
                "virtual_hosted_style_request": False,
            },
            client_options={
                "allow_http": meta.endpoint_url.startswith("http:"),
                "timeout": _TIMEOUT,
                "connect_timeout": _TIMEOUT,
            },
            retry_config={"max_retries": 0},
            credential_provider=Boto3CredentialProvider(self._session, ttl=_CREDENTIALS),
        )
