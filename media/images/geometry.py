"""Places in a picture, brought from the stored source to its upright, enlarged result. Exif 2.32, 4.6.4 A (orientation)."""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""Left, top, width, height."""


@dataclass(frozen=True)
class Geometry:
    """A source of `stored` (width, height) pixels that is turned by EXIF `orientation` and becomes `result` (width, height)."""

    orientation: int
    stored: tuple[int, int]
    result: tuple[int, int]

    @property
    def turned(self) -> bool:
        """True when width and height are exchanged."""
        return self.orientation in (5, 6, 7, 8)

    @property
    def unchanged(self) -> bool:
        """True when every pixel stays where it is."""
        return self.orientation in (0, 1) and self.stored == self.result

    def scale(self) -> tuple[float, float]:
        """Factors of the result's width and height over those of the upright source."""
        width, height = self.stored[::-1] if self.turned else self.stored
        return self.result[0] / width, self.result[1] / height

    def share(self, x: float, y: float) -> tuple[float, float]:
        """Return a point as shares (0 to 1) of the stored width and height, as shares of the result's."""
        return {
            2: (1 - x, y),
            3: (1 - x, 1 - y),
            4: (x, 1 - y),
            5: (y, x),
            6: (1 - y, x),
            7: (1 - y, 1 - x),
            8: (y, 1 - x),
        }.get(self.orientation, (x, y))

    def share_box(self, box: Box) -> Box:
        """Return a box as shares of the stored size, by its left upper corner, as shares of the result's."""
        left, top, width, height = box
        one, two = self.share(left, top), self.share(left + width, top + height)
        return min(one[0], two[0]), min(one[1], two[1]), abs(one[0] - two[0]), abs(one[1] - two[1])

    def extent(self, width: float, height: float) -> tuple[float, float]:
        """Width and height as shares, exchanged when the picture is turned by a quarter."""
        return (height, width) if self.turned else (width, height)

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Return a point in stored pixels, in pixels of the result."""
        across, down = self.share(x / self.stored[0], y / self.stored[1])
        return across * self.result[0], down * self.result[1]

    def box(self, box: Box) -> Box:
        """Return a box in stored pixels, in pixels of the result."""
        left, top, width, height = box
        one, two = self.point(left, top), self.point(left + width, top + height)
        return min(one[0], two[0]), min(one[1], two[1]), abs(one[0] - two[0]), abs(one[1] - two[1])

    def size(self, width: float, height: float) -> tuple[float, float]:
        """Return a width and a height in stored pixels, in pixels of the result."""
        width, height = self.extent(width, height)
        across, down = self.scale()
        return width * across, height * down
