"""Which backend and precision a generator runs in: what is present, what was asked for, and a short race where in doubt."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from contract.errors import UsageError
from contract.settings import Settings
from workers.generators.network import Architecture, Network

_log = logging.getLogger(__name__)

PROBE_S = 2.0
"""Seconds that the race may take in all, compilation aside."""
_PROBE_WORK = 60e9
"""Floating point operations of one lap: a third of a second on two cores."""
_PROBE_SIDE = 512
"""Pixels: the largest probe, for networks that hardly compute anything."""
_SAFE_DB = 50.0
"""A faster precision must stay this near to fp32, peak signal to noise."""


@dataclass(frozen=True)
class Candidate:
    """One way to run the network, and the architecture as it is then: halo and memory are the backend's."""

    backend: str
    precision: str
    architecture: Architecture
    make: Callable[[], Network]

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"


class _Verdict(msgspec.Struct, frozen=True):
    backend: str
    precision: str
    reason: str


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def choose(candidates: Sequence[Candidate], key: str, settings: Settings) -> tuple[Architecture, Network, str]:
    """The best candidate's architecture and network, and why it was chosen. `candidates` are in order of expectation.

    `key` names all that a race's outcome depends on; outcomes are kept in `settings.cache`, so that only the first
    worker on a machine runs it.
    """
    if len(candidates) == 1:
        only = candidates[0]
        return only.architecture, only.make(), f"{only}: nothing else fits this machine and the settings"
    path = settings.cache / "probes" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        verdict = msgspec.json.decode(path.read_bytes(), type=_Verdict)
        for candidate in candidates:
            if (candidate.backend, candidate.precision) == (verdict.backend, verdict.precision):
                return candidate.architecture, candidate.make(), f"{verdict.reason} (measured before)"
    winner, network, verdict = _race(candidates)
    _log.info("generator %s: %s", winner.architecture.name, verdict.reason)
    with contextlib.suppress(OSError):  # without a cache the next worker measures again
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(msgspec.json.encode(verdict))
        part.replace(path)
    return winner.architecture, network, verdict.reason


def _race(candidates: Sequence[Candidate]) -> tuple[Candidate, Network, _Verdict]:
    side = min(
        max(int(math.sqrt(_PROBE_WORK / max(candidates[0].architecture.flops, 1.0))) // 16 * 16, 16), _PROBE_SIDE
    )
    patch = torch.rand((1, 3, side, side), generator=torch.Generator().manual_seed(1))
    patch = torch.nn.functional.avg_pool2d(patch, 3, 1, 1)
    best: tuple[float, Candidate, Network] | None = None
    exact: torch.Tensor | None = None
    words = []
    # fp32 first: the others are measured against its picture.
    for candidate in sorted(candidates, key=lambda c: c.precision != "fp32"):
        network = candidate.make()
        result = network(patch.to(network.device))
        if candidate.precision == "fp32" and exact is None:
            exact = result
        elif exact is not None and candidate.precision != "fp32":
            error = float((result.clamp(0, 1) - exact.clamp(0, 1)).square().mean())
            if error > 10 ** (-_SAFE_DB / 10):
                words.append(f"{candidate} left out, {-10 * math.log10(error):.0f} dB from fp32")
                continue
        seconds = _lap(network, patch, PROBE_S / len(candidates))
        words.append(f"{candidate} {seconds * 1000:.0f} ms")
        if best is None or seconds < best[0]:
            best = (seconds, candidate, network)
    assert best is not None, "fp32 is always among the candidates, or there is one candidate alone"
    reason = f"{best[1]}: fastest on a {side}x{side} probe ({', '.join(words)})"
    return best[1], best[2], _Verdict(best[1].backend, best[1].precision, reason)


def _lap(network: Network, patch: torch.Tensor, budget: float) -> float:
    """Seconds of the fastest of up to five runs, within `budget` seconds but at least one run."""
    shown = patch.to(network.device)
    laps: list[float] = []
    start = time.perf_counter()
    while len(laps) < 5 and (not laps or time.perf_counter() - start + min(laps) < budget):
        began = time.perf_counter()
        network(shown)
        if network.device.type == "cuda":
            torch.cuda.synchronize(network.device)
        laps.append(time.perf_counter() - began)
    return min(laps)


def refuse(backend: str, precision: str, device: torch.device) -> UsageError:
    return UsageError(
        f"backend {backend} in precision {precision} cannot be had on {device}: "
        "set backend and precision to auto, or choose another device."
    )


def cache_key(*parts: object) -> str:
    return "|".join(map(str, parts))


def machine() -> str:
    """The processor, in words that change when its speed does."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    import platform

    return platform.processor() or platform.machine()
