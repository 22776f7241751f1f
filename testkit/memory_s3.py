"""S3 in memory, behind the calls of boto3 that Storage makes: for trials by the thousand.

It answers as a store does that honours If-None-Match and If-Match; tests/stores/test_memory_s3.py compares it with a real server.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError
from botocore.response import StreamingBody

_PAGE = 1000


class _Object:
    def __init__(self, data: bytes, metadata: dict[str, str]) -> None:
        self.data, self.metadata = data, metadata
        self.etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
        self.written = datetime.now(UTC)


def _refusal(operation: str, code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        operation,
    )


class MemoryS3:
    """The objects of one bucket, and boto3's client of them. Safe to share between threads."""

    def __init__(self) -> None:
        self.objects: dict[str, _Object] = {}
        self._lock = threading.Lock()

    def head_bucket(self, **_: Any) -> dict[str, Any]:
        """Say that the bucket is there."""
        return {}

    def _found(self, key: str, operation: str, code: str) -> _Object:
        found = self.objects.get(key)
        if found is None:
            raise _refusal(operation, code, 404)
        return found

    def get_object(self, **wanted: Any) -> dict[str, Any]:
        """Answer with the object, or with the range of it."""
        found = self._found(wanted["Key"], "GetObject", "NoSuchKey")
        data = found.data
        if "Range" in wanted:
            start, stop = wanted["Range"].removeprefix("bytes=").split("-")
            data = data[int(start) : int(stop) + 1]
        return {
            "Body": StreamingBody(io.BytesIO(data), len(data)),
            "ContentLength": len(data),
            "Metadata": dict(found.metadata),
            "ETag": found.etag,
        }

    def head_object(self, **wanted: Any) -> dict[str, Any]:
        """Answer with size and metadata."""
        found = self._found(wanted["Key"], "HeadObject", "404")
        return {"ContentLength": len(found.data), "Metadata": dict(found.metadata), "ETag": found.etag}

    def put_object(self, **wanted: Any) -> dict[str, Any]:
        """Write an object under its condition."""
        body, key = wanted["Body"], wanted["Key"]
        made = _Object(body if isinstance(body, bytes) else body.read(), dict(wanted.get("Metadata", {})))
        with self._lock:
            there = self.objects.get(key)
            if wanted.get("IfNoneMatch") == "*" and there is not None:
                raise _refusal("PutObject", "PreconditionFailed", 412)
            if "IfMatch" in wanted:
                if there is None:
                    raise _refusal("PutObject", "NoSuchKey", 404)
                if there.etag != wanted["IfMatch"]:
                    raise _refusal("PutObject", "PreconditionFailed", 412)
            self.objects[key] = made
        return {"ETag": made.etag}

    def copy_object(self, **wanted: Any) -> dict[str, Any]:
        """Copy an object with its metadata."""
        found = self._found(wanted["CopySource"]["Key"], "CopyObject", "NoSuchKey")
        self.objects[wanted["Key"]] = _Object(found.data, dict(found.metadata))
        return {}

    def delete_object(self, **wanted: Any) -> dict[str, Any]:
        """Remove an object; one that is absent is no error."""
        self.objects.pop(wanted["Key"], None)
        return {}

    def list_objects_v2(self, **wanted: Any) -> dict[str, Any]:
        """List a page of keys in order, or of the folders below a prefix."""
        prefix, after = wanted.get("Prefix", ""), wanted.get("ContinuationToken", "")
        names = sorted(key for key in list(self.objects) if key.startswith(prefix))
        if "Delimiter" in wanted:
            folders = sorted({prefix + key[len(prefix) :].partition("/")[0] + "/" for key in names})
            return {"CommonPrefixes": [{"Prefix": folder} for folder in folders], "IsTruncated": False}
        names = [key for key in names if key > after]
        page = [(key, self.objects.get(key)) for key in names[:_PAGE]]
        contents = [
            {"Key": key, "Size": len(found.data), "LastModified": found.written, "ETag": found.etag}
            for key, found in page
            if found is not None
        ]
        more = len(names) > _PAGE
        return {
            "Contents": contents,
            "IsTruncated": more,
            **({"NextContinuationToken": names[_PAGE - 1]} if more else {}),
        }

    def get_paginator(self, operation: str) -> _Pages:
        """Return the pages of a listing."""
        if operation != "list_objects_v2":
            raise NotImplementedError(operation)
        return _Pages(self)


class _Pages:
    def __init__(self, client: MemoryS3) -> None:
        self._client = client

    def paginate(self, **wanted: Any) -> Iterator[dict[str, Any]]:
        """Yield every page."""
        while True:
            page = self._client.list_objects_v2(**wanted)
            yield page
            if not page["IsTruncated"]:
                return
            wanted["ContinuationToken"] = page["NextContinuationToken"]
