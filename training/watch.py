"""Detection of faults in training that raise no error: a saturated discriminator, drifting colours, lasting bad numbers."""

from __future__ import annotations

from training.state import TrainState
from training.validation import Validation

MOST_BAD = 10
"""Steps in a row that are not finite before the run goes back to its last checkpoint."""
SATURATED_STEPS = 100
_CERTAIN = 0.98
"""A discriminator with this probability for real images, and as low a one for generated ones, gives no useful gradient."""
DRIFT = 2.0
"""Code values by which the mean level may leave that of the start before it is reported."""


def watch_discriminator(state: TrainState, losses: dict[str, float]) -> str | None:
    """Count steps at which the discriminator is certain of everything; return a sentence when it has been for long."""
    if state.discriminator is None:
        return None
    certain = losses["real"] > _CERTAIN and losses["fake"] < 1 - _CERTAIN
    state.counts.saturated = state.counts.saturated + 1 if certain else 0
    if state.counts.saturated and state.counts.saturated % SATURATED_STEPS == 0:
        return (
            f"the discriminator has been certain for {state.counts.saturated} steps (real {losses['real']:.3f}, made "
            f"{losses['fake']:.3f}): the generator learns little from it; stop, and lower --rate or train stage net longer."
        )
    return None


def watch_colour(first: float | None, now: Validation) -> str | None:
    """Return a sentence when the mean level has drifted since the start of the run, whose error was `first`."""
    if first is None or now.shift <= first + DRIFT:
        return None
    return (
        f"colours drift: the mean level is off by {now.shift:.1f} code values, {first:.1f} at the start; "
        "if it stays so, the gate will refuse the result."
    )
