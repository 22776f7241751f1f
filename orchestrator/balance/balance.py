"""The balance of a film's work: the encoder's processor time against the network's, and which of them is the limit. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.balance.encoder_cost import EncoderCost

Limit = Literal["encoder", "network", "either"]
Range = tuple[float, float]


@dataclass(frozen=True)
class NetworkTime:
    """Seconds that the network takes for a frame on `device`, as a range, and its source `told`; `cores` is the number of the processor's cores, 0 for a card."""

    device: str
    least: float
    most: float
    cores: int
    told: str


@dataclass(frozen=True)
class Balance:
    """A film's network beside its encoder.

    A card computes the network while `cores` encode, None where their number is not known: the slower of the two is the limit. A
    processor does both with the same cores, so that the larger share of their time is.
    """

    network: NetworkTime
    encoder: EncoderCost
    cores: int | None

    @property
    def encoded(self) -> Range | None:
        """Frames a second that the cores encode if they do nothing else, as a range; None where their number is not known."""
        return None if self.cores is None else (self.cores / self.encoder.most, self.cores / self.encoder.least)

    @property
    def needed(self) -> tuple[int, int] | None:
        """Cores that keep the encoder as fast as a card's network, as a range; None for a processor, where more cores make both faster."""
        if self.network.cores:
            return None
        return _up(self.encoder.least / self.network.most), _up(self.encoder.most / self.network.least)

    @property
    def share(self) -> Range | None:
        """The encoder's share of a processor's time, as a range; None for a card."""
        if not self.network.cores:
            return None
        low, high = (self.network.cores * seconds for seconds in (self.network.least, self.network.most))
        return self.encoder.least / (self.encoder.least + high), self.encoder.most / (self.encoder.most + low)

    @property
    def limit(self) -> Limit | None:
        """The limit of the film's speed; "either" where that depends on the film, None where it depends on cores whose number is not known."""
        if self.share is not None:
            low, high = (part - 0.5 for part in self.share)
        elif self.needed is not None and self.cores is not None:
            low, high = (self.encoder.least / self.network.most, self.encoder.most / self.network.least)
            low, high = low - self.cores, high - self.cores
        else:
            return None
        return "encoder" if low > 0 else "network" if high <= 0 else "either"

    def facts(self) -> dict[str, Any]:
        """Return the figures for JSON: seconds of a frame, core seconds of a frame, frames a second, numbers of cores, shares of 1."""
        return {
            "device": self.network.device,
            "network_s": _rounded((self.network.least, self.network.most)),
            "encoder_core_s": _rounded((self.encoder.least, self.encoder.most)),
            "cores": self.network.cores or self.cores,
            "encoded_fps": _rounded(self.encoded),
            "cores_needed": None if self.needed is None else list(self.needed),
            "encoder_share": _rounded(self.share),
            "limit": self.limit,
            "told_by": [self.network.told, self.encoder.told],
        }

    def words(self) -> str:
        """Say the balance in one sentence."""
        encoder = f"{self.encoder.named} takes {span((self.encoder.least, self.encoder.most))} core seconds a frame"
        seconds = span((self.network.least, self.network.most))
        if self.share is not None:
            on = cores_that(str(self.network.cores), f"of {self.network.device}")
            return (
                f"{encoder}, the network {seconds} s on all of {on}: {_LIMITS[self.limit or 'either']}, "
                f"the encoder takes {span(tuple(100 * part for part in self.share))}% of the cores' time, and more cores make both faster"
            )
        needed = span(self.needed or (0, 0))
        rate = span((1 / self.network.most, 1 / self.network.least))
        said = f"{encoder}, the network {seconds} s on {self.network.device}"
        if self.cores is None or self.encoded is None:
            return f"{said}, {rate} frames a second: {cores_that(needed, 'keeps it busy', 'keep it busy')}, with fewer the encoder is the limit"
        cores = cores_that(str(self.cores), "encodes", "encode")
        enough = ("is enough", "are enough") if self.limit == "network" else ("would keep it busy",)
        limit = _LIMITS[self.limit or "either"]
        return f"{said}: {cores} at most {span(self.encoded)} frames a second of its {rate}; {limit}, {cores_that(needed, *enough)}"


_LIMITS = {
    "encoder": "the encoder is the limit",
    "network": "the network is the limit",
    "either": "the film decides which is the limit",
}


def span(values: tuple[float, ...]) -> str:
    """Write a range of two numbers, with two digits that count or all before the point."""
    low, high = (f"{value:.0f}" if value >= 100 else f"{float(f'{value:.2g}'):g}" for value in values)
    return low if low == high else f"{low} to {high}"


def cores_that(number: str, one: str, more: str = "") -> str:
    """Write `number` cores and what they do or are: `one` for a single core, and for others, too, unless there is `more`."""
    return f"1 core {one}" if number == "1" else f"{number} cores {more or one}"


def _up(cores: float) -> int:
    return max(1, math.ceil(cores - 1e-9))


def _rounded(values: Range | None) -> list[float] | None:
    return None if values is None else [float(f"{value:.3g}") for value in values]
