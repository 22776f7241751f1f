"""The loop of a run: steps, validation, checkpoints; ended, killed and started again it goes on bit for bit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import torch

from contract.errors import EnhanceError
from contract.training import Best, Commit, Part, Point, Run
from training import state as states
from training.checkpoints import Checkpoints
from training.data.patches import Feed
from training.data.pool import PairPool
from training.group import Group
from training.state import TrainState
from training.step import Outcome, Stepper
from training.validation import Validator
from training.watch import MOST_BAD, watch_colour, watch_discriminator

_SPEED_STEPS = 20
"""Steps over which the speed is measured."""
_MOST_REWINDS = 8

Report = Callable[["Trainer"], None]


@dataclass
class Trainer:
    """One process's part of a run. `wants_stop` is asked before every step; `report` is called after it where this process leads."""

    run: Run
    state: TrainState
    feed: Feed
    stepper: Stepper
    checkpoints: Checkpoints
    group: Group
    device: torch.device
    attempt: str
    validator: Validator | None
    wants_stop: Callable[[], bool] = lambda: False
    report: Report = lambda _: None
    losses: dict[str, float] = field(default_factory=dict)
    number: int = -1
    """Of the newest commit."""

    def __post_init__(self) -> None:
        recipe = self.run.recipe
        self._slots = list(range(self.group.rank, recipe.slots, self.group.size))
        self._pools = [PairPool(recipe.pool, recipe.seed, slot) for slot in self._slots]
        self._times: list[float] = []

    def train(self) -> bool:
        """Train until the recipe's steps or time are used up, True, or a stop is asked for, False; a checkpoint is last.

        Raises EnhanceError when numbers stay bad, LeaseLost when another process trains the run.
        """
        recipe, counts = self.run.recipe, self.state.counts
        if self._restore():
            counts = self.state.counts
        else:
            self._validate()
            self._checkpoint(finished=False)
        if self._finished():
            return True
        while True:
            begun = time.monotonic()
            batches = [
                pool.exchange(self.feed.batch(counts.step, slot, counts.rewinds), counts.step, counts.rewinds)
                if recipe.pool
                else self.feed.batch(counts.step, slot, counts.rewinds)
                for slot, pool in zip(self._slots, self._pools, strict=True)
            ]
            self.state.set_rates(recipe.rate)
            late = self.run.time_s is not None and counts.seconds >= self.run.time_s
            outcome = self.stepper.step(batches, [float(self.wants_stop()), float(late)])
            self._times = [*self._times[-_SPEED_STEPS:], time.monotonic()]
            counts.seconds += time.monotonic() - begun
            if counts.bad_in_a_row >= MOST_BAD:
                self._rewind()
                counts = self.state.counts
                continue
            stop, ends = outcome.flags[0] > 0, outcome.flags[1] > 0 or counts.step >= recipe.steps
            self._after(outcome, stop or ends)
            if stop or ends:
                self._checkpoint(finished=ends)
                return ends
            if counts.step % recipe.validate_every == 0 or counts.step % recipe.checkpoint_every == 0:
                self._checkpoint(finished=False)

    @property
    def speed(self) -> float | None:
        """Steps a second over the last steps."""
        if len(self._times) < 2 or self._times[-1] == self._times[0]:
            return None
        return (len(self._times) - 1) / (self._times[-1] - self._times[0])

    def _finished(self) -> bool:
        commit = self.checkpoints.newest()
        return commit is not None and commit.finished

    def _after(self, outcome: Outcome, last: bool) -> None:
        counts = self.state.counts
        if outcome.finite:
            self.losses = outcome.losses
            sentence = watch_discriminator(self.state, outcome.losses)
            if sentence:
                self.state.say("saturated", sentence)
        else:
            self.state.say(
                "skipped", f"step {counts.step} was not finite and was skipped ({counts.bad_in_a_row} in a row)."
            )
        if counts.step % self.run.recipe.validate_every == 0 or last:
            self._validate()
        if self.group.leads:
            self.report(self)

    def _validate(self) -> None:
        """Look at the held-out pictures (in the process that leads alone: it alone reports and commits)."""
        if self.validator is None:
            return
        found = self.validator.look(self.state.ema)
        values = {
            **{name: value for name, value in self.losses.items() if value},
            "psnr": found.psnr,
            "shift": found.shift,
        }
        if found.distance is not None:
            values["distance"] = found.distance
        self.state.points.append(Point(self.state.counts.step, values))
        sentence = watch_colour(self.state.points[0].values["shift"], found)
        if sentence:
            self.state.say("drift", sentence)
        if self.state.best is None or found.score > self.state.best.score:
            unwritten = Part("", "0" * 64)
            self.state.best = Best(self.state.counts.step, found.score, unwritten)
            self.state.best_weights = {k: v.detach().clone() for k, v in self.state.ema.state_dict().items()}

    def _checkpoint(self, finished: bool) -> None:
        self.number += 1
        own = [
            self.checkpoints.put(self.number, f"pool-{slot}", states.dump_tensors(pool.state()))
            for slot, pool in zip(self._slots, self._pools, strict=True)
        ]
        gathered = self.group.collect(msgspec.json.encode(own).decode())
        if self.group.leads:
            parts = [part for text in gathered for part in msgspec.json.decode(text, type=list[Part])]
            parts.sort(key=lambda part: int(part.key.rpartition("-")[2]))
            if self.state.best is not None and self.state.best_weights is not None:
                part = self.checkpoints.put(self.number, "best", states.dump_tensors(self.state.best_weights))
                self.state.best = msgspec.structs.replace(self.state.best, part=part)
                self.state.best_weights = None
            whole = self.checkpoints.put(self.number, "state", states.dump(self.state))
            self.checkpoints.commit(
                Commit(
                    self.number,
                    self.state.counts.step,
                    self.attempt,
                    whole,
                    tuple(parts),
                    self.state.best,
                    finished,
                )
            )
        self.group.collect("committed")  # no process continues before the checkpoint is committed

    def _restore(self) -> bool:
        """Take the newest whole checkpoint over; False when there is none."""
        newest = self.checkpoints.newest()
        loaded = self.checkpoints.load()
        # Every process read the store before anyone may write to it.
        self.group.collect("read")
        if newest is None or loaded is None:
            return False
        self.number = newest.number
        states.load(self.state, loaded.state)
        for slot, pool in zip(self._slots, self._pools, strict=True):
            if slot < len(loaded.pools):
                pool.load(states.load_tensors(loaded.pools[slot]), self.device)
        for note in loaded.notes:
            self.state.say("damaged", note)
        return True

    def _rewind(self) -> None:
        """Go back to the last checkpoint with half the rate and other draws, and commit that at once."""
        counts = self.state.counts
        skipped, seconds, rewinds, factor = counts.skipped, counts.seconds, counts.rewinds + 1, counts.rate_factor / 2
        events = self.state.events
        if rewinds > _MOST_REWINDS:
            raise EnhanceError(
                f"run {self.run.id} had {MOST_BAD} steps in a row that are not finite, {rewinds} times; "
                "lower --rate, or look at its data."
            )
        self._restore()
        counts = self.state.counts
        counts.skipped, counts.seconds, counts.rewinds, counts.rate_factor = skipped, seconds, rewinds, factor
        counts.bad_in_a_row = 0
        self.state.events = events
        self.state.say(
            "rewound",
            f"{MOST_BAD} steps in a row were not finite: back to step {counts.step}, at {factor:g} of the rate.",
        )
        self._checkpoint(finished=False)
