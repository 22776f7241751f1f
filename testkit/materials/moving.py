"""Pictures that move as a whole, progressive or interlaced: scrolling titles and pans over texture."""

from __future__ import annotations

from collections.abc import Callable

import av
import numpy as np
import numpy.typing as npt

from testkit.materials.write import Film, write

Grey = npt.NDArray[np.float32]
SIZE = (320, 240)


def titles(seed: int = 1) -> Grey:
    """Rows of letters drawn with lines of one pixel."""
    rng = np.random.default_rng(seed)
    page = np.full((900, 900), 16, dtype=np.float32)
    for y in range(0, 880, 14):
        for x in range(0, 880, 9):
            for part in (np.s_[y, x : x + 6], np.s_[y + 4, x : x + 6], np.s_[y : y + 8, x], np.s_[y + 8, x : x + 6]):
                if rng.random() < 0.6:
                    page[part] = 230
    return page


def texture(seed: int = 1) -> Grey:
    """Soft blotches of all sizes from a few pixels on, as a landscape has."""
    rng = np.random.default_rng(seed)
    page = np.zeros((900, 900), dtype=np.float32)
    for side in (6, 12, 36):
        cells = rng.uniform(0, 85, (900 // side, 900 // side)).astype(np.float32)
        page += np.kron(cells, np.ones((side, side), dtype=np.float32))
    for axis in (0, 1):
        for _ in range(2):
            page = ((np.roll(page, 1, axis) + 2 * page + np.roll(page, -1, axis)) / 4).astype(np.float32)
    return page


def moving(page: Grey, down: float, right: float, interlaced: str = "") -> Callable[..., av.VideoFrame]:
    """Draw `page` moving by (`down`, `right`) pixels a frame; `interlaced` (tff, bff) weaves each frame from two moments."""

    def at(height: int, width: int, time: float) -> Grey:
        y, x = down * time + 60, right * time + 60
        rows, columns = int(np.floor(y)), int(np.floor(x))
        part = np.roll(page, (rows, columns), (0, 1))[: height + 1, : width + 1]
        a, b = np.float32(y - rows), np.float32(x - columns)
        part = part * (1 - a) + np.roll(part, 1, 0) * a
        part = part * (1 - b) + np.roll(part, 1, 1) * b
        return part[1 : height + 1, 1 : width + 1]

    def draw(width: int, height: int, i: int, pix_fmt: str, seed: int) -> av.VideoFrame:
        del seed
        first = at(height, width, i)
        if interlaced:
            second = at(height, width, i + 0.5)
            late = 1 if interlaced == "tff" else 0
            first[late::2] = second[late::2]
        grey = np.clip(first, 0, 255).astype(np.uint8)
        return av.VideoFrame.from_ndarray(grey, format="gray").reformat(format=pix_fmt)

    return draw


def film(page: Grey, down: float, right: float, interlaced: str = "", frames: int = 48) -> bytes:
    """Make an H.264 film of it in which no frame is flagged as interlaced."""
    options = {"crf": "16", "preset": "veryfast", "x264-params": "threads=1:keyint=24"}
    picture = moving(page, down, right, interlaced)
    return write(Film("mp4", "libx264", options, size=SIZE, frames=frames, picture=picture))
