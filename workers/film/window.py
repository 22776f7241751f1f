"""Windows that slide over frames: each frame with its neighbours, or with what was measured of them, at most `radius` positions away.

Nothing but the window decides about a frame, so a chunk whose run has `radius` frames of context on either side gives the
same frames as the whole film. Frames that are not `needed` are passed on as they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from workers.film.picture import Picture

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

M = TypeVar("M")


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
    frames: Iterable[tuple[int, VideoFrame]],
    radius: int,
    make: Callable[[Window], VideoFrame],
    needed: range | None = None,
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield each position with what `make` returns for its window; positions increase, and some may be missing."""
    pictures: dict[int, Picture] = {}
    waiting: deque[int] = deque()

    def ready(limit: float) -> Iterator[tuple[int, VideoFrame]]:
        while waiting and waiting[0] + radius <= limit:
            position = waiting.popleft()
            for old in [at for at in pictures if at < position - radius]:
                del pictures[old]
            if needed is not None and position not in needed:
                yield position, pictures[position].frame
                continue
            near = {at: p for at, p in pictures.items() if at <= position + radius}
            yield position, make(Window(position, near))

    for position, frame in frames:
        yield from ready(position - 1)
        pictures[position] = Picture(frame)
        waiting.append(position)
        yield from ready(position)
    yield from ready(float("inf"))


def measured(
    frames: Iterable[tuple[int, VideoFrame]],
    radius: int,
    measure: Callable[[int, Picture], M],
    make: Callable[[int, Picture, dict[int, M]], VideoFrame],
    needed: range | None = None,
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield each position with what `make` returns for its picture and the measures around it; pictures behind it are not kept.

    `measure` is called once for each position, in order.
    """
    measures: dict[int, M] = {}
    waiting: deque[tuple[int, Picture]] = deque()

    def ready(limit: float) -> Iterator[tuple[int, VideoFrame]]:
        while waiting and waiting[0][0] + radius <= limit:
            position, picture = waiting.popleft()
            for old in [at for at in measures if at < position - radius]:
                del measures[old]
            if needed is not None and position not in needed:
                yield position, picture.frame
                continue
            yield position, make(position, picture, {at: m for at, m in measures.items() if at <= position + radius})

    for position, frame in frames:
        yield from ready(position - 1)
        picture = Picture(frame)
        measures[position] = measure(position, picture)
        waiting.append((position, picture))
        yield from ready(position)
    yield from ready(float("inf"))
