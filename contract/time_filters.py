"""Filters over time that a job may ask for: their options, the words for their work, and the frames that they look at."""

from __future__ import annotations

from dataclasses import dataclass

from contract.film import HELD, STEADY_REACH
from contract.job import Spec


@dataclass(frozen=True)
class TimeFilter:
    """A filter over time. `name` is its field in the spec; `reach` counts the frames before and after a frame that decide about it."""

    name: str
    reach: int
    done: str

    @property
    def option(self) -> str:
        """The option that asks for it."""
        return f"--{self.name}"

    @property
    def context(self) -> int:
        """Frames that must be decoded before and after the first and the last one that it makes: held frames count as one."""
        return self.reach + HELD


DEFLICKER = TimeFilter("deflicker", 12, "deflickered")
SCRATCHES = TimeFilter("scratches", 8, "scratches filled")
STABILISE = TimeFilter("stabilise", 12, "stabilised")
DIRT = TimeFilter("dirt", 4, "dirt filled")
GRAIN = TimeFilter("grain", 1, "grain kept")
STEADY = TimeFilter("steady", STEADY_REACH, "steadied")

TIME_FILTERS = (DEFLICKER, DIRT, SCRATCHES, STABILISE, GRAIN, STEADY)
"""All filters, in the order in which frames go through them."""


def asked(spec: Spec) -> tuple[TimeFilter, ...]:
    """List the filters that `spec` asks for, in their order."""
    return tuple(one for one in TIME_FILTERS if getattr(spec, one.name))


def options_of(filters: tuple[TimeFilter, ...]) -> tuple[str, str, str]:
    """Return the options' names, "needs" or "need" as their number demands, and "it" or "them"."""
    *others, last = [one.option for one in filters] or [""]
    return (f"{', '.join(others)} and {last}", "need", "them") if others else (last, "needs", "it")


def context_of(spec: Spec) -> int:
    """Return the frames before and after a chunk's own that the filters of `spec` need: each needs results of those before it."""
    return sum(one.context for one in asked(spec))
