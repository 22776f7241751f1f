"""The alpha of a film on its way past the network: enlarged apart, and put back on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from media.alpha import Alpha, alpha_of, carries_alpha, with_alpha
from media.codecs import pixel_class

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


def enlarged(alpha: Alpha, size: tuple[int, int]) -> Alpha:
    """Return `alpha` in (height, width) `size` by bicubic interpolation; unchanged where it has that size."""
    if alpha.shape == size:
        return alpha
    values = torch.from_numpy(alpha.astype(np.float32))[None, None]
    larger = torch.nn.functional.interpolate(values, size=size, mode="bicubic", align_corners=False, antialias=True)
    top = float(np.iinfo(alpha.dtype).max if alpha.dtype == np.uint8 else alpha.max(initial=0))
    return larger[0, 0].round_().clamp_(0, top).numpy().astype(alpha.dtype)


class AlphaKeeper:
    """Holds the alpha of frames from before the network until after it, where the result's format `pix_fmt` has one."""

    def __init__(self, pix_fmt: str) -> None:
        self._pix_fmt = pix_fmt
        self._wanted = carries_alpha(pix_fmt)
        self._held: dict[int, tuple[Alpha, int]] = {}

    def take(self, ordinal: int, frame: VideoFrame) -> None:
        """Hold the alpha of a source's frame."""
        if self._wanted and carries_alpha(frame.format.name):
            self._held[ordinal] = alpha_of(frame), pixel_class(frame.format.name).depth

    def put(self, ordinal: int, frame: VideoFrame) -> VideoFrame:
        """Return the opaque result `frame` with its alpha; opaque where its source had none."""
        if not self._wanted:
            return frame
        size = (frame.height, frame.width)
        alpha, depth = self._held.pop(ordinal, (np.full(size, 255, np.uint8), 8))
        return with_alpha(frame, enlarged(alpha, size), self._pix_fmt, depth)
