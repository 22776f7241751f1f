"""Everything that a run carries from step to step, and its form in a checkpoint."""

from __future__ import annotations

import copy
import io
from dataclasses import dataclass, field
from typing import Any

import msgspec
import torch

from contract.errors import IntegrityError
from contract.training import Best, Event, Point, Recipe

BETAS = (0.9, 0.99)
"""Of Adam, as in the paper."""
_WARM = 10
"""The average over steps begins with the first steps: its decay at step n is at most (1 + n) / (10 + n)."""


@dataclass
class Counts:
    """The counters of a run; the checkpoint has them, so that a resumed run continues to count."""

    step: int = 0
    rewinds: int = 0
    skipped: int = 0
    bad_in_a_row: int = 0
    saturated: int = 0
    seconds: float = 0.0
    rate_factor: float = 1.0
    loss_scale: float = 1.0
    good_in_a_row: int = 0


@dataclass
class TrainState:
    """Networks, their average, optimisers, counters, curves and events of one process."""

    generator: torch.nn.Module
    ema: torch.nn.Module
    optimiser: torch.optim.Optimizer
    discriminator: torch.nn.Module | None = None
    judge: torch.optim.Optimizer | None = None
    counts: Counts = field(default_factory=Counts)
    points: list[Point] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    best: Best | None = None
    best_weights: dict[str, torch.Tensor] | None = None

    def say(self, kind: str, text: str) -> Event:
        """Note an event; returns it."""
        event = Event(self.counts.step, kind, text)
        self.events.append(event)
        return event

    def average(self, decay: float) -> None:
        """Move the average towards the generator by one step."""
        step = self.counts.step
        share = 1 - min(decay, (1 + step) / (_WARM + step))
        with torch.no_grad():
            for mean, value in zip(self.ema.parameters(), self.generator.parameters(), strict=True):
                mean.lerp_(value, share)

    def set_rates(self, rate: float) -> None:
        """Give both optimisers the rate, times what rewinds have left of it."""
        for optimiser in (self.optimiser, self.judge):
            for group in optimiser.param_groups if optimiser else ():
                group["lr"] = rate * self.counts.rate_factor


def begin(generator: torch.nn.Module, discriminator: torch.nn.Module | None, recipe: Recipe) -> TrainState:
    """Return the state before the first step."""
    ema = copy.deepcopy(generator).eval().requires_grad_(False)
    state = TrainState(generator, ema, _adam(generator, recipe), discriminator)
    if discriminator is not None:
        state.judge = _adam(discriminator, recipe)
    if recipe.precision == "fp16":
        state.counts.loss_scale = 2.0**14
    return state


def _adam(network: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    # One tensor after the other: the fused forms add in another order on some devices.
    return torch.optim.Adam(network.parameters(), recipe.rate, BETAS, foreach=False, fused=False)


def dump(state: TrainState) -> bytes:
    """Return the state as bytes; `load` of them goes on bit for bit."""
    held: dict[str, Any] = {
        "generator": state.generator.state_dict(),
        "ema": state.ema.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "counts": vars(state.counts),
        "log": msgspec.json.encode((state.points, state.events, state.best)).decode(),
    }
    if state.discriminator is not None and state.judge is not None:
        # The vectors of the spectral normalisation are buffers, and so are in it.
        held["discriminator"] = state.discriminator.state_dict()
        held["judge"] = state.judge.state_dict()
    return dump_tensors(held)


def load(state: TrainState, data: bytes) -> None:
    """Fill `state`, built by `begin` for the same run, from a checkpoint; raise IntegrityError when it is of another run."""
    held = load_tensors(data)
    try:
        state.generator.load_state_dict(held["generator"])
        state.ema.load_state_dict(held["ema"])
        state.optimiser.load_state_dict(held["optimiser"])
        if state.discriminator is not None and state.judge is not None:
            state.discriminator.load_state_dict(held["discriminator"])
            state.judge.load_state_dict(held["judge"])
        state.counts = Counts(**held["counts"])
        log = msgspec.json.decode(held["log"], type=tuple[list[Point], list[Event], Best | None])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise IntegrityError(
            f"the checkpoint does not fit its run ({str(error).splitlines()[0]}); start the run anew under another name."
        ) from error
    state.points, state.events, state.best = log
    state.best_weights = None


def dump_tensors(held: Any) -> bytes:
    """Return tensors, numbers and text as bytes that `load_tensors` reads."""
    buffer = io.BytesIO()
    torch.save(held, buffer)
    return buffer.getvalue()


def load_tensors(data: bytes) -> Any:
    """Read what `dump_tensors` wrote; nothing in it is run as code."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
