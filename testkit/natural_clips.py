"""A natural film for speed benchmarks: the camera drifts over a photograph, or every picture is held for two frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt


def photograph(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return scikit-image's `astronaut` (NASA, public domain), mirrored until it is at least `height` x `width`; RGB."""
    from skimage import data

    picture: npt.NDArray[np.uint8] = data.astronaut()
    wide = np.concatenate([picture, picture[:, ::-1]], 1)
    tall = np.concatenate([wide, wide[::-1]], 0)
    return np.tile(tall, (-(-height // 1024), -(-width // 1024), 1))


def make_moving(path: Path, frames: int, size: tuple[int, int], held: bool = False) -> Path:
    """Write `frames` pictures of `size` (width, height) at 25 fps as H.264, BT.601.

    With `held` every second frame repeats the one before, and the film is lossless, so that it does so to the bit.
    """
    width, height = size
    picture = photograph(height + frames, width + 2 * frames)
    options = {"qp": "0"} if held else {"crf": "14"}
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "veryfast", **options})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for n in range(frames):
            at = n // 2 if held else n
            shown = np.ascontiguousarray(picture[at : at + height, 2 * at : 2 * at + width])
            frame = av.VideoFrame.from_ndarray(shown, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode())
    return path
