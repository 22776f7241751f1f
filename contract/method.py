"""The way in which a job's network is computed: the same for all its chunks, so that one film has one look."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Method(Struct, frozen=True, forbid_unknown_fields=True):
    """method.json: backend and precision of the first worker that loaded the job's network; written once (If-None-Match)."""

    backend: str
    precision: str
    version: Literal[1] = 1

    def allows(self, backend: str, precision: str) -> bool:
        """Return True when results of this backend and precision look like the job's other ones.

        In fp32 all backends do: they differ by rounding alone (above 100 dB). In half floats each rounds its own way, by
        up to 36 code values of a photograph.
        """
        return precision == self.precision and (precision == "fp32" or backend == self.backend)

    def __str__(self) -> str:
        return self.precision if self.precision == "fp32" else f"{self.backend} {self.precision}"
