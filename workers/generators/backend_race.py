"""Choice of a generator's backend and precision: installed, requested, and the fastest in a short race."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import msgspec
import torch

from contract.errors import UsageError
from contract.job import Weights
from contract.settings import Settings
from contract.verdict import Subject, Verdict, verdicts
from stores.atomic_files import write_atomically
from stores.processor import processor_name, usable_cores
from workers.generators.network import Architecture, Network

_log = logging.getLogger(__name__)

PROBE_S = 2.0
"""Seconds that the race may take altogether, without compilation."""
PROBE_WORK = 60e9
"""Floating point operations of one run: a third of a second on two cores."""
CARD_WORK = 4e12
"""The same for a card: ten milliseconds at half of an H200's peak; less would not fill it."""
_PROBE_SIDE = 512
"""Side in pixels of the largest probe image, for networks that compute very little."""
_SAFE_DB = 50.0
"""PSNR in dB that a faster precision must reach against fp32."""


@dataclass(frozen=True)
class Candidate:
    """One way to run the network, with the architecture whose halo and memory hold for that backend.

    `work` is the floating point operations of one run of the race, and `before` the runs before the first that is timed: a card's
    network gets faster when its shape has come often.
    """

    backend: str
    precision: str
    architecture: Architecture
    make: Callable[[], Network]
    work: float = PROBE_WORK
    before: int = 0

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"


def installed(package: str) -> bool:
    """Return whether Python can import `package`, without importing it."""
    return importlib.util.find_spec(package) is not None


def choose(
    candidates: Sequence[Candidate], subject: Subject, key: str, settings: Settings
) -> tuple[Architecture, Network, str]:
    """Return the best candidate's architecture and network, and the reason.

    `candidates` are in the order of expected speed, and ways to run `subject`. `key` contains everything that the outcome of a race
    depends on; outcomes are kept in `settings.cache`, so that only the first worker on a machine runs the race.
    """
    if len(candidates) == 1:
        only = candidates[0]
        return only.architecture, only.make(), f"{only}: the only choice for this machine and the settings"
    path = verdicts(settings) / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
    with contextlib.suppress(OSError, msgspec.MsgspecError):  # of older versions, too, which kept no time
        verdict = msgspec.json.decode(path.read_bytes(), type=Verdict)
        for candidate in candidates:
            if (candidate.backend, candidate.precision) == (verdict.backend, verdict.precision):
                return candidate.architecture, candidate.make(), f"{verdict.reason} (measured before)"
    winner, network, verdict, lasting = _race(candidates, subject)
    _log.info("generator %s: %s", winner.architecture.name, verdict.reason)
    if lasting:
        with contextlib.suppress(OSError):  # without a cache the next worker measures again
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, msgspec.json.encode(verdict))
    return winner.architecture, network, verdict.reason


def _race(candidates: Sequence[Candidate], subject: Subject) -> tuple[Candidate, Network, Verdict, bool]:
    """Return the winner, its network, and the verdict; False where a candidate lacked memory, which may be there the next time."""
    side = min(
        max(int(math.sqrt(candidates[0].work / max(candidates[0].architecture.flops, 1.0))) // 16 * 16, 16), _PROBE_SIDE
    )
    patch = torch.rand((1, 3, side, side), generator=torch.Generator().manual_seed(1))
    patch = torch.nn.functional.avg_pool2d(patch, 3, 1, 1)
    best: tuple[float, Candidate, Network] | None = None
    exact: torch.Tensor | None = None
    timings, lasting = [], True
    # fp32 first: the others are compared with its result.
    for candidate in sorted(candidates, key=lambda c: c.precision != "fp32"):
        try:
            network = candidate.make()
            result = network(patch.to(network.device))
        except MemoryError:
            timings.append(f"{candidate} left out, too little memory")
            lasting = False
            continue
        if candidate.precision == "fp32" and exact is None:
            exact = result
        elif exact is not None and candidate.precision != "fp32":
            error = float((result.clamp(0, 1) - exact.clamp(0, 1)).square().mean())
            if not error <= 10 ** (-_SAFE_DB / 10):  # so that NaN is left out, too
                timings.append(f"{candidate} left out, PSNR {-10 * math.log10(error):.0f} dB against fp32")
                continue
        for _ in range(candidate.before):
            network(patch.to(network.device))
        seconds = _lap(network, patch, PROBE_S / len(candidates))
        timings.append(f"{candidate} {seconds * 1000:.0f} ms")
        if best is None or seconds < best[0]:
            best = (seconds, candidate, network)
    if best is None:
        raise MemoryError(f"no way to run the network fits into the memory for {side}x{side} pixels")
    reason = f"{best[1]}: fastest on a {side}x{side} probe ({', '.join(timings)})"
    verdict = Verdict(best[1].backend, best[1].precision, reason, subject, side * side, best[0], version("respool"))
    return best[1], best[2], verdict, lasting


def _lap(network: Network, patch: torch.Tensor, budget: float) -> float:
    """Return the seconds of the fastest of up to five runs, within `budget` seconds but at least one run."""
    inputs = patch.to(network.device)
    laps: list[float] = []
    start = time.perf_counter()
    while len(laps) < 5 and (not laps or time.perf_counter() - start + min(laps) < budget):
        began = time.perf_counter()
        network(inputs)
        if network.device.type == "cuda":
            torch.cuda.synchronize(network.device)
        laps.append(time.perf_counter() - began)
    return min(laps)


def unavailable(backend: str, precision: str, device: torch.device) -> UsageError:
    """Return the error for a backend and precision that `device` does not support."""
    return UsageError(
        f"backend {backend} in precision {precision} is not available on {device}: "
        "set backend and precision to auto, or choose another device."
    )


def cache_key(*parts: object) -> str:
    """Join everything that the outcome of a race depends on into one key: `parts`, and Respool's version, whose kernels they are."""
    return "|".join(map(str, (version("respool"), *parts)))


def subject_of(weights: Weights, device: torch.device, settings: Settings) -> Subject:
    """Return the subject of a race between ways to run the network of `weights` on `device`."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    cores = (settings.threads or usable_cores()) if device.type == "cpu" else 0
    return Subject(weights.name, weights.architecture, weights.parameters, name, cores)
