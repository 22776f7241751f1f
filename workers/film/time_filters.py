"""Filters over time that frames go through, one after the other, before they are enhanced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from contract.time_filters import DEFLICKER, DIRT, GRAIN, SCRATCHES, STABILISE, STEADY, TimeFilter, asked
from workers.film.deflicker import Deflicker
from workers.film.dirt import DirtFiller
from workers.film.grain import GrainKeeper
from workers.film.scratches import ScratchFiller
from workers.film.stabilise import Stabiliser
from workers.film.steady import Steadier

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from contract.job import Spec
    from contract.packets import RunHeader
    from workers.film.frame_marks import Clock
    from workers.film.masks import MaskFilm


class FrameFilter(Protocol):
    """A filter over time; `radius` counts the frames before and after a frame that it needs."""

    filter: TimeFilter

    @property
    def radius(self) -> int:
        """Frames before and after a frame that decide about it."""

    def filtered(
        self, frames: Iterable[tuple[int, VideoFrame]], needed: range | None = None
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the frames, filtered; those outside of `needed` need not be."""

    def put_back(self, position: int, frame: VideoFrame) -> VideoFrame:
        """Return an enhanced frame with what was taken off it before."""

    def notes(self, header: RunHeader) -> list[str]:
        """Return sentences about what was done to a chunk's own frames."""

    def record(self, header: RunHeader) -> dict[str, object]:
        """Return what was done to each of a chunk's own frames."""


def make(spec: Spec, header: RunHeader, clock: Clock) -> list[FrameFilter]:
    """Return the filters that `spec` asks for, in their order."""
    owned = range(header.first, header.first + header.count)
    makers: dict[TimeFilter, Callable[[], FrameFilter]] = {
        DEFLICKER: lambda: Deflicker(header.colour, clock),
        DIRT: lambda: DirtFiller(header.colour, clock),
        SCRATCHES: lambda: ScratchFiller(header.colour, clock),
        STABILISE: lambda: Stabiliser(header.colour, clock),
        GRAIN: lambda: GrainKeeper(spec.grain, header.colour, clock, header.encoding.colour, owned),
        STEADY: lambda: Steadier(spec.steady, header.colour, clock),
    }
    return [makers[one]() for one in asked(spec)]


def through(
    frames: Iterator[tuple[int, VideoFrame]],
    filters: list[FrameFilter],
    header: RunHeader,
    before: int,
    masks: MaskFilm | None = None,
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield the frames after all filters; each makes only frames that the filters behind it and the encoder need.

    `before` counts the frames before the chunk's own that faces are followed through. `masks` gets what each filter changed.
    """
    margin = sum(one.radius for one in filters)
    for one in filters:
        margin -= one.radius
        needed = range(header.first - before - margin, header.first + header.count + margin)
        frames = one.filtered(frames, needed) if masks is None else masks.watched(one, frames, needed)
    return frames if masks is None else masks.written(frames)
