"""A window that slides over frames: each frame with its neighbours, at most `radius` positions away.

Nothing but the window decides about a frame, so a chunk whose run has `radius` frames of context on either side gives the
same frames as the whole film.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from workers.film.picture import Picture

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


class Window:
    """The picture at `position`, and those around it that have its shape, by their positions."""

    def __init__(self, position: int, pictures: dict[int, Picture]) -> None:
        self.position = position
        own = pictures[position]
        self.pictures = {at: picture for at, picture in pictures.items() if picture.shape == own.shape}

    @property
    def picture(self) -> Picture:
        """The picture in the middle."""
        return self.pictures[self.position]

    def neighbours(self, reach: int, first: int | None = None, last: int | None = None) -> list[tuple[int, Picture]]:
        """List the other pictures at most `reach` positions before `first` and after `last`; without them, around the middle."""
        low = (self.position if first is None else first) - reach
        high = (self.position if last is None else last) + reach
        return [(at, p) for at, p in sorted(self.pictures.items()) if low <= at <= high and at != self.position]


def windowed(
    frames: Iterable[tuple[int, VideoFrame]], radius: int, make: Callable[[Window], VideoFrame]
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield each position with what `make` returns for its window; positions increase, and some may be missing."""
    pictures: dict[int, Picture] = {}
    waiting: list[int] = []

    def ready(limit: float) -> Iterator[tuple[int, VideoFrame]]:
        while waiting and waiting[0] + radius <= limit:
            position = waiting.pop(0)
            for old in [at for at in pictures if at < position - radius]:
                del pictures[old]
            near = {at: p for at, p in pictures.items() if at <= position + radius}
            yield position, make(Window(position, near))

    for position, frame in frames:
        yield from ready(position - 1)
        pictures[position] = Picture(frame)
        waiting.append(position)
        yield from ready(position)
    yield from ready(float("inf"))
