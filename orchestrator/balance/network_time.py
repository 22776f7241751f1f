"""The time of a job's network on a device: by the race that a worker ran on this machine, else as published."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

import msgspec

from contract.job import Precision
from contract.settings import Settings
from contract.verdict import Verdict, verdicts
from orchestrator.balance.balance import NetworkTime
from orchestrator.local.process_specs import card_name, gpus
from orchestrator.submission.published_pace import FRAME, NETWORKS
from stores.processor import processor_name, usable_cores
from weights.catalog import Entry

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """A card or a processor by its name, or a part of it, and the cores at hand, None where their number is not known."""

    name: str
    card: bool
    cores: int | None


def device_here(settings: Settings) -> Device:
    """Return the device of a worker that runs on this machine, "" for a card that is not known; cards share its cores evenly."""
    kind, _, number = settings.device.partition(":")
    cards = gpus() if kind in ("auto", "cuda") else []
    if cards:
        chosen = cards[int(number or 0) :][:1]  # torch counts the cards that are visible
        return Device(card_name(chosen[0]) if chosen else "", True, max(1, usable_cores() // len(cards)))
    return Device(processor_name(), False, settings.threads or usable_cores())


def network_time(
    entry: Entry, precision: Precision, pixels: int, device: Device, settings: Settings
) -> NetworkTime | None:
    """Return the time of the network of `entry` for a frame of `pixels` of the source, None where nothing tells it.

    The fastest verdict of this version counts whose job could have had this precision and these settings: the race itself takes the fastest.
    """
    found = [
        (verdict.subject.cores == device.cores, -verdict.seconds / verdict.pixels, verdict)
        for verdict in _verdicts(settings)
        if verdict.version == version("respool")
        and verdict.subject.computes(entry.name, entry.architecture, entry.parameters)
        and device.name.lower() in verdict.subject.device.lower()
        and device.card <= (verdict.subject.cores == 0)
        and precision in ("auto", verdict.precision)
        and settings.backend in ("auto", verdict.backend)
    ]
    if found:
        verdict = max(found, key=lambda one: one[:2])[2]
        seconds = verdict.seconds / verdict.pixels * pixels
        how = f"{verdict.backend} {verdict.precision}"
        told = f"this machine's race: {how} took {verdict.seconds:.2g} s for {verdict.pixels} pixels"
        return NetworkTime(verdict.subject.device, seconds, seconds, verdict.subject.cores, told)
    if not device.name or precision != "auto":
        return None
    for known in NETWORKS:
        if known.model == entry.name and device.name.lower() in known.device.lower():
            seconds = known.seconds / FRAME * pixels / 1e6
            return NetworkTime(known.device, seconds, seconds, 0, known.source)
    return None


def _verdicts(settings: Settings) -> Iterator[Verdict]:
    """Yield the verdicts of this machine's cache; those of older versions tell no time and are left out."""
    for path in sorted(verdicts(settings).glob("*.json")):
        try:
            yield msgspec.json.decode(path.read_bytes(), type=Verdict)
        except (OSError, msgspec.MsgspecError) as error:
            logger.debug("%s tells no pace: %s", path, error)
