"""The headers that a card's encoder writes: the same for all chunks of a film, which are joined by stream copy."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from contract.film import Encoding
from contract.job import Sha256


class EncoderHeaders(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """headers-<sha256>.json: headers of the first worker that tried a job's encoding; written once (If-None-Match).

    Another card or driver may write others, although it is asked for the same.
    """

    headers: Sha256
    worker: str
    """The machine of that worker."""
    version: Literal[1] = 1


def encoding_sha256(encoding: Encoding) -> str:
    """Return the SHA-256 of an encoding's canonical JSON in hex."""
    return hashlib.sha256(msgspec.json.encode(encoding, order="deterministic")).hexdigest()
