"""Task, queues and message of the Celery side: a message names a waiting chunk, nothing more.

Each version of the plan has its own queue, and a worker listens to the versions that it can read. Old and new workers
can therefore run side by side without receiving messages that they cannot read.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from contract.documents import KNOWN, Version
from contract.errors import Newer, UsageError
from contract.job import JobId

QUEUE = "respool"
ENHANCE = "respool.enhance"


class ChunkMessage(Struct, frozen=True, forbid_unknown_fields=True):
    """The only message: chunk `chunk` of job `job` waits for a worker. Workers read everything else from S3.

    `version` is the plan's, so that the receiver knows whether it can read the plan.
    """

    job: JobId
    chunk: Annotated[int, Meta(ge=0, lt=1 << 31)]  # beyond it Redis' scripts would count in floating point
    version: Version = 1


class _Versioned(Struct):
    version: int


def queue(version: int) -> str:
    """Return the name of the queue for chunks whose plan has `version`."""
    return QUEUE if version == 1 else f"{QUEUE}.{version}"


def to_message(chunk: ChunkMessage) -> dict[str, object]:
    """Return the message's body as plain values for Celery."""
    message: dict[str, object] = msgspec.to_builtins(chunk)
    return message


def from_message(message: object) -> ChunkMessage:
    """Read a message from an untrusted sender.

    Raises:
        Newer: the message has a later version than this process reads.
        UsageError: it is not a message of Respool.
    """
    try:
        return msgspec.convert(message, ChunkMessage)
    except msgspec.ValidationError as error:
        try:
            found = msgspec.convert(message, _Versioned).version
        except msgspec.ValidationError:
            found = 0
        if found > max(KNOWN):
            raise Newer(
                f"refused a message of version {found}: this worker knows none above {max(KNOWN)}; "
                "its chunk is published again for workers that do."
            ) from error
        raise UsageError(f"refused a message that is not ours: {error}.") from error
