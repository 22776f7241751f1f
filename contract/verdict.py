"""The outcome of a race of backends: what a worker keeps in its cache, and what tells the pace of a network afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from contract.settings import Settings

Parameters = dict[str, int | float | str | bool]


class Subject(Struct, frozen=True):
    """Subject of a race: a network by its name, architecture and parameters in the catalog, and the device that ran it.

    `device` is the name of the card or processor, and `cores` the number of the latter's that computed, 0 for a card.
    """

    model: str
    architecture: str
    parameters: Parameters
    device: str
    cores: Annotated[int, Meta(ge=0)]

    def computes(self, model: str, architecture: str, parameters: Parameters) -> bool:
        """Return whether that model's network takes the time of this one: layers decide it, not the numbers in them."""
        same = self.architecture == architecture and self.parameters == parameters
        # Parameters do not tell all of a network that spandrel recognises.
        return same and (architecture != "spandrel" or self.model == model)


class Verdict(Struct, frozen=True):
    """The winner of a race, the reason in words, the `seconds` that it took for a picture of `pixels`, one at a time, and Respool's version."""

    backend: str
    precision: str
    reason: str
    subject: Subject
    pixels: Annotated[int, Meta(gt=0)]
    seconds: Annotated[float, Meta(gt=0)]
    version: str


def verdicts(settings: Settings) -> Path:
    """Return the folder of the verdicts, one file each."""
    return settings.cache / "probes"
