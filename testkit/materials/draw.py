"""Moving pictures, seeded: every frame differs from every other, and has edges, motion and colour to get wrong."""

from __future__ import annotations

import av
import numpy as np


def picture(width: int, height: int, time: float, seed: int = 1) -> np.ndarray:
    """Draw the picture at `time` frames: uint16, H x W x 3, full-scale 16-bit RGB."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    base = np.stack(
        [0.5 + 0.4 * np.sin((x + 2 * time) / 11 + c) * np.cos((y - time) / (7 + 3 * c)) for c in range(3)],
        axis=-1,
    )
    left = (5 * time + 7 * seed) % width
    box = (np.abs(x - left) < width / 10) & (np.abs(y - height / 2) < height / 4)
    base[box] = (0.95, 0.2 + 0.6 * ((time * 7) % 13) / 13, 0.1)
    noise = np.random.default_rng((seed, int(time * 2))).integers(0, 1200, (height, width, 1))
    return np.clip(base * 60000 + 2000 + noise, 0, 65535).astype(np.uint16)


def frame(width: int, height: int, time: float, pix_fmt: str, seed: int = 1, interlaced: str = "") -> av.VideoFrame:
    """Draw one frame; `interlaced` ("tff" or "bff") weaves it from two moments half a frame apart."""
    if interlaced:
        first, second = picture(width, height, time, seed), picture(width, height, time + 0.5, seed)
        whole = first.copy()
        whole[1::2] = second[1::2]
        if interlaced == "bff":
            whole[0::2], whole[1::2] = second[0::2], first[1::2]
    else:
        whole = picture(width, height, time, seed)
    return av.VideoFrame.from_ndarray(whole, format="rgb48le").reformat(format=pix_fmt)
