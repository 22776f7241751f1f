"""The balance of one film: what is known of its network and its encoder, and how to measure what is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contract.film import FilmIndex
from contract.job import Codec, Spec
from contract.settings import Settings
from contract.time_filters import asked
from media.codecs import encoder_options
from media.nvenc import ENCODERS as CARDS
from orchestrator.balance.balance import Balance, cores_that, span
from orchestrator.balance.encoder_cost import EncoderCost, encoder_cost, named, preset_of
from orchestrator.balance.network_time import Device, network_time
from orchestrator.submission.presets import FILM
from weights import catalog


@dataclass(frozen=True)
class FilmWork:
    """A film's frames before and after: pixels of the source's, pixels of the result's, and the encoder of these."""

    pixels: int
    result: int
    codec: Codec
    options: Mapping[str, str]
    pix_fmt: str


@dataclass(frozen=True)
class FilmBalance:
    """The balance in one sentence, and in figures for JSON; `known` is None where a figure is missing, which the sentence says."""

    words: str
    facts: dict[str, Any]
    known: Balance | None = None


USUAL = Spec(model=FILM)
"""The job of a film without options."""


def usual_work() -> FilmWork:
    """Return the work of a film of 640x480 without options, four times as wide and high afterwards."""
    result = 2560 * 1920
    return FilmWork(640 * 480, result, "x264", encoder_options("x264", USUAL, "yuv420p", pixels=result), "yuv420p")


def work_of(index: FilmIndex) -> FilmWork:
    """Return the work of a planned film."""
    encoding = index.encoding
    result = encoding.width * encoding.height
    return FilmWork(index.width * index.height, result, encoding.codec, encoding.options, encoding.pix_fmt)


def film_balance(work: FilmWork, spec: Spec, device: Device, settings: Settings) -> FilmBalance:
    """Return the balance of a film on `device`."""
    cost = encoder_cost(work.codec, work.options, work.pix_fmt, work.result)
    entry = catalog.load(settings).find(spec.model, ("generator",))
    if not entry.sources:
        return _without_network(cost, work, device)
    time = network_time(entry, spec.precision, work.pixels, device, settings)
    if cost is not None and time is not None:
        found = Balance(time, cost, None if time.cores else device.cores)
        left = _not_counted(spec)
        words = found.words() + (f"; not counted: {', '.join(left)}" if left else "")
        return FilmBalance(words, found.facts() | {"not_counted": left, "words": words}, found)
    missing = [] if cost is not None else [_unmeasured(work)]
    if time is None:
        where = f"on {device.name}" if device.name else "on this machine's card"
        missing.append(
            f"the time of {entry.name} {where} is not known here: restore a short piece there (--to 2), and ask there again"
        )
    words = f"unknown: {'; '.join(missing)}"
    return FilmBalance(words, {"limit": None, "words": words})


def _without_network(cost: EncoderCost | None, work: FilmWork, device: Device) -> FilmBalance:
    """Return the balance of a film whose frames go through no network: the encoder alone is known."""
    if cost is None:
        words = f"unknown: {_unmeasured(work)}"
    else:
        each = span((cost.least, cost.most))
        words = f"{cost.named} takes {each} core seconds a frame, and there is no network"
        if device.cores is not None:
            words += f": {cores_that(str(device.cores), 'encodes', 'encode')} at most {span((device.cores / cost.most, device.cores / cost.least))} frames a second"
    return FilmBalance(words, {"limit": None, "words": words})


def _unmeasured(work: FilmWork) -> str:
    if work.codec in CARDS:
        return f"{named(work.codec, work.options)} encodes on the card instead of its cores, and was not timed"
    preset = preset_of(work.codec, work.options)
    chosen = f" --presets {preset}" if preset else ""
    return (
        f"{named(work.codec, work.options)} in {work.pix_fmt} was not timed: `python -m benchmarks.speed.presets --codecs {work.codec}{chosen} "
        f"--pix-fmt {work.pix_fmt}` of a checkout does it"
    )


def _not_counted(spec: Spec) -> list[str]:
    """List the work on a film that is in neither figure."""
    left = ["faces"] if spec.faces else []
    left += ["filters over time"] if asked(spec) else []
    return left + (["tiles"] if spec.tile else [])
