"""Objects that the process of one act may ask for: those of its own job, and of these only what the act needs."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from contract import keys
from stores.object_store import Condition

Act = Literal["ingest", "witness", "assemble"]

_DOCUMENTS = r"(job|plan|control)\.json"
_READS = {
    "ingest": re.compile(rf"{_DOCUMENTS}|items/.*"),
    "witness": re.compile(rf"{_DOCUMENTS}|items/.*"),
    "assemble": re.compile(r".*"),
}
_BY_CONTENT = re.compile(r"items/[0-9]+/(?:indexes|runs)/([0-9a-f]{64})")
_READING = re.compile(r"items/[0-9]+/witness/[0-9a-f]{64}")
_RESULT = re.compile(r"results/(files/.+|records\.jsonl)")
_ATTEMPT = re.compile(r"chunks/[0-9]+/attempt-.+")
_COPIED = re.compile(r"chunks/[0-9]+/attempt-.+|results/files/.+")


@dataclass(frozen=True)
class Rights:
    """The rights of one act on one job."""

    act: Act
    job: str

    def _below(self, key: str) -> str | None:
        """Return the part of `key` below the job's prefix; None for what is not there."""
        prefix = keys.job_prefix(self.job)
        rest = key.removeprefix(prefix)
        return None if rest == key or "\0" in rest or {"..", "."} & set(rest.split("/")) else rest

    def reads(self, key: str) -> bool:
        """Return True for an object or a prefix that it may read or list."""
        rest = self._below(key)
        return rest is not None and _READS[self.act].fullmatch(rest) is not None

    def writes(self, key: str, data: bytes, condition: Condition | None) -> bool:
        """Return True for an object that it may write: inputs by their own hash, documents that others replace too by condition."""
        rest = self._below(key)
        if rest is None:
            return False
        if self.act == "ingest":
            named = _BY_CONTENT.fullmatch(rest)
            if named:
                return named[1] == hashlib.sha256(data).hexdigest()
            return rest == "plan.json" and condition is not None
        if self.act == "witness":
            return _READING.fullmatch(rest) is not None
        if rest == "results/manifest.json":
            return condition is not None
        return _RESULT.fullmatch(rest) is not None or _READING.fullmatch(rest) is not None

    def stores_file(self, key: str) -> bool:
        """Return True for a result that it may upload."""
        rest = self._below(key)
        return self.act == "assemble" and rest is not None and _RESULT.fullmatch(rest) is not None

    def copies(self, source: str, target: str) -> bool:
        """Return True for a copy of what a worker or an earlier assembly stored to a result."""
        rest = self._below(source)
        return rest is not None and _COPIED.fullmatch(rest) is not None and self.stores_file(target)

    def removes(self, key: str) -> bool:
        """Return True for an attempt, which assembly removes when another one was committed."""
        rest = self._below(key)
        return self.act == "assemble" and rest is not None and _ATTEMPT.fullmatch(rest) is not None
