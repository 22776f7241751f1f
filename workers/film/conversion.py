"""A film's frames on their way to the network and back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from media.codecs import opaque_name
from workers.film import card_colour
from workers.film.pixel_layout import layout
from workers.generators.enhancer import Enhancer

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from contract.packets import RunHeader
    from workers.generators.finishing import FinishingEnhancer


class Conversion:
    """The conversions of one chunk: by PyTorch's passes, or by kernels where they are proved on the card at hand.

    `rgb` means that somebody needs the results as R'G'B', as the restoring of faces does. Else a network whose last steps the kernels know
    leaves its frames in code values.
    """

    def __init__(self, header: RunHeader, enhancer: Enhancer, rgb: bool) -> None:
        self._header = header
        self._enhancer = enhancer
        self._by = card_colour.conversions(enhancer.proofs)
        self._format = opaque_name(header.encoding.pix_fmt)
        self._size = (header.encoding.height, header.encoding.width)
        self._finishing = None if rgb or self._by is not card_colour else self._finisher()

    def _finisher(self) -> FinishingEnhancer | None:
        from workers.generators.finishing import FinishingEnhancer

        colour, form = self._header.encoding.colour, layout(self._format)
        if not isinstance(self._enhancer, FinishingEnhancer) or not card_colour.fits(form, colour, *self._size):
            return None
        self._finish = partial(card_colour.to_words, form=form, colour=colour, limit=True)
        return self._enhancer

    def to_rgb(self, frame: VideoFrame) -> torch.Tensor:
        """Convert a frame to 1 x 3 x H x W float32 on the device."""
        return self._by.to_rgb(frame, self._header.colour, self._enhancer.device)  # type: ignore[no-any-return]

    def enhance(self, rgb: torch.Tensor) -> torch.Tensor:
        """Enlarge N x 3 x H x W to the size of the encoding: float32 of the same axes, or N rows of words of `card_colour.to_words`."""
        made = self._finishing.finished(rgb, self._size, self._finish) if self._finishing is not None else None
        return self._enhancer.frames(rgb, self._size) if made is None else made

    def to_frame(self, result: torch.Tensor) -> VideoFrame:
        """Convert one result of `enhance`, of the first axis' length 1, to a frame without alpha."""
        colour = self._header.encoding.colour
        if result.dim() == 2:
            return card_colour.to_frame(result[0], self._size, self._format, colour)
        return self._by.from_rgb(result, self._format, colour)  # type: ignore[no-any-return]
