"""Errors of S3: transient or permanent, each with its meaning for the user."""

from __future__ import annotations

from botocore.exceptions import ClientError
from urllib3.exceptions import HTTPError

from contract.errors import Missing, StorageError, Unreachable
from stores.object_store import missing

TRIES = 5
ABSENT = {"404", "NoSuchKey", "NotFound", "NoSuchBucket"}
REFUSED = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
BUSY = {
    "409",
    "ConditionalRequestConflict",
    "OperationAborted",
    "SlowDown",
    "503",
    "ServiceUnavailable",
    "InternalError",
}


def code_of(error: ClientError) -> str:
    """Return S3's own code of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def translate(error: Exception, bucket: str, endpoint: str, key: str = "") -> StorageError | Unreachable | Missing:
    """Return the error of ours for one of S3, about `key` or else about the whole bucket."""
    where = endpoint or "the S3 endpoint of the AWS configuration"
    what = f"object {key}" if key else f"bucket {bucket}"
    if isinstance(error, ClientError):
        code = code_of(error)
        if key and code in ABSENT - {"NoSuchBucket"}:
            return missing(key, bucket)
        if code == "AccessDenied":
            return Unreachable(
                f"S3 at {where} refused this key for {what} ({code}); use the key of the role that may do this, or widen its "
                "policy as in deploy/s3, or check RESPOOL_S3_ACCESS_KEY and RESPOOL_S3_SECRET_KEY."
            )
        if code in REFUSED:
            return Unreachable(
                f"S3 at {where} refused the credentials for {what} ({code}); check RESPOOL_S3_ACCESS_KEY and RESPOOL_S3_SECRET_KEY."
            )
        return StorageError(f"S3 at {where} answered {code or error} for {what}; it was tried {TRIES} times.")
    if "Connect" in type(error).__name__ or "Endpoint" in type(error).__name__ or "Credentials" in type(error).__name__:
        return Unreachable(
            f"S3 at {where} cannot be reached for {what}; check RESPOOL_S3_ENDPOINT and that the server runs."
        )
    return StorageError(f"S3 at {where} failed for {what}: {type(error).__name__}; it was tried {TRIES} times.")


def breaks_while_streaming(error: Exception) -> bool:
    """Return True for what breaks in the middle of a body, which botocore does not repeat by itself."""
    if isinstance(error, (HTTPError, OSError)):
        return True
    return type(error).__name__ in (
        "IncompleteReadError",
        "ResponseStreamingError",
        "ReadTimeoutError",
        "ConnectionClosedError",
    )
