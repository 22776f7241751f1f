"""Repairs over time: each frame is measured once, beside the one before it, and what was measured around a frame decides about it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from contract.film import HELD
from workers.film.picture import Picture
from workers.film.window import measured, windowed

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from contract.film import Colour
    from contract.packets import RunHeader
    from contract.time_filters import TimeFilter
    from workers.film.frame_marks import Clock
    from workers.film.window import Window

Look = TypeVar("Look")
Link = TypeVar("Link")


@dataclass(frozen=True)
class Measure(Generic[Look, Link]):
    """Measures of a frame that a repair keeps.

    `look` is the frame's own. `link` leads from the frame before it to this one; None where they do not belong together. `same` tells that
    they are equal to the bit.
    """

    look: Look
    link: Link | None
    same: bool


class Recorder:
    """A filter over time that records what it did to each frame, and says so."""

    filter: TimeFilter
    sentence: str
    """The end of the sentence "N frames from F on are ..."."""
    unchanged: object
    """The record of a frame that was not changed."""

    def __init__(self, colour: Colour, clock: Clock) -> None:
        self.colour, self._clock = colour, clock
        self.found: dict[int, object] = {}
        """Of each changed position, what is recorded of it."""

    @property
    def radius(self) -> int:
        """Frames before and after a frame that decide about it."""
        return self.filter.context

    def put_back(self, position: int, frame: VideoFrame) -> VideoFrame:  # noqa: ARG002  # some filters look it up
        """Return an enhanced frame with what was taken off it before: nothing, for most filters."""
        return frame

    def notes(self, header: RunHeader) -> list[str]:
        """Return the sentence about a chunk's changed frames."""
        changed = sorted(self._owned(header))
        return [f"{len(changed)} frames from {changed[0]} on are {self.sentence}"] if changed else []

    def record(self, header: RunHeader) -> dict[str, object]:
        """Return what is recorded of each owned frame of a chunk."""
        owned = self._owned(header)
        return {self.filter.name: [owned.get(header.first + n, self.unchanged) for n in range(header.count)]}

    def _owned(self, header: RunHeader) -> dict[int, object]:
        return {at: found for at, found in self.found.items() if 0 <= at - header.first < header.count}


class Windowed(Recorder, ABC):
    """A filter that makes each frame of the window of pictures around it."""

    @abstractmethod
    def made(self, window: Window) -> VideoFrame:
        """Return the filtered frame of a window."""

    def filtered(
        self, frames: Iterable[tuple[int, VideoFrame]], needed: range | None = None
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the frames, filtered; those outside of `needed` need not be."""
        return windowed(frames, self.radius, self._timed, needed)

    def _timed(self, window: Window) -> VideoFrame:
        now = time.perf_counter()
        frame = self.made(window)
        self._clock.spend(self.filter.name, now)
        return frame


class Repairer(Recorder, ABC, Generic[Look, Link]):
    """A filter that measures frames and changes them by what it measured; runs of equal frames count as one, and stay equal."""

    def __init__(self, colour: Colour, clock: Clock) -> None:
        super().__init__(colour, clock)
        self._before: tuple[int, Picture, Look] | None = None

    @abstractmethod
    def look(self, picture: Picture) -> Look:
        """Measure a picture alone."""

    @abstractmethod
    def link(self, before: Look, after: Look) -> Link | None:
        """Measure a frame against the one before it; None where they do not belong together, as at a cut."""

    @abstractmethod
    def repaired(
        self, picture: Picture, at: int, around: dict[int, Measure[Look, Link]]
    ) -> tuple[VideoFrame, object] | None:
        """Return the repaired picture and what is recorded of it, None to leave it; `at` is its place in `around`."""

    def filtered(
        self, frames: Iterable[tuple[int, VideoFrame]], needed: range | None = None
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the frames, repaired; those outside of `needed` need not be."""
        return measured(frames, self.filter.context, self._measure, self._made, needed)

    def _measure(self, position: int, picture: Picture) -> Measure[Look, Link]:
        now = time.perf_counter()
        own, link, same = self.look(picture), None, False
        if self._before is not None:
            at, before, look = self._before
            if at == position - 1 and before.shape == picture.shape:
                same, link = before.equals(picture), self.link(look, own)
        self._before = position, picture, own
        self._clock.spend(self.filter.name, now)
        return Measure(own, link, same)

    def _made(self, position: int, picture: Picture, measures: dict[int, Measure[Look, Link]]) -> VideoFrame:
        now = time.perf_counter()
        first = last = position
        while measures[first].same and first - 1 in measures:
            first -= 1
        while last + 1 in measures and measures[last + 1].same:
            last += 1
        frame = picture.frame
        if last - first < HELD:
            reach = self.filter.reach
            around = {at: m for at, m in measures.items() if first - reach <= at <= first + reach}
            if (made := self.repaired(picture, first, around)) is not None:
                frame, self.found[position] = made
        self._clock.spend(self.filter.name, now)
        return frame


def counted(at: int, around: dict[int, Measure[Look, Link]]) -> list[int]:
    """List the positions that links join to `at`, without the repetitions of held frames."""
    first = last = at
    while around[first].link is not None and first - 1 in around:
        first -= 1
    while last + 1 in around and around[last + 1].link is not None:
        last += 1
    return [position for position in range(first, last + 1) if position == at or not around[position].same]
