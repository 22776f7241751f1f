"""A film's frames on their way to the network and back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from media.codecs import opaque_name
from workers.film import card_colour
from workers.film.pixel_layout import layout
from workers.film.repeats import Repeats
from workers.generators.enhancer import Enhancer

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from contract.packets import RunHeader
    from workers.card.streams import Sent
    from workers.film.frame_pool import FramePool
    from workers.generators.finishing import Begun, FinishingEnhancer


class Conversion:
    """The conversions of one chunk: by PyTorch's passes, or by kernels where they are proved on the card at hand.

    `rgb` means that a later stage, such as face restoration, needs R'G'B'. Else a network whose last steps the kernels know
    leaves its frames in code values. Frames are of the memory of those that are given back to `frames`.
    """

    def __init__(self, header: RunHeader, enhancer: Enhancer, rgb: bool, frames: FramePool) -> None:
        self._header = header
        self._enhancer = enhancer
        self._by = card_colour.conversions(enhancer.proofs)
        self._format = opaque_name(header.encoding.pix_fmt)
        self._size = (header.encoding.height, header.encoding.width)
        self._finishing = None if rgb or self._by is not card_colour else self._finisher()
        self._repeats = Repeats()
        self._frames = frames
        # In other formats FFmpeg makes another frame of the one that is filled.
        self._pooled = layout(self._format).plain == self._format

    @property
    def late(self) -> int:
        """The batches that should be begun before one is ended, so that the device has work while the host looks at its result."""
        return 0 if self._finishing is None else 1

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

    def repeats(self, rgb: torch.Tensor) -> list[bool]:
        """Return what `begin` must know of the next batch of inputs. Batches come in the order of frames."""
        return [] if self._finishing is None else self._repeats.of(rgb)

    def begin(self, rgb: torch.Tensor, repeats: list[bool]) -> Begun | None:
        """Begin to enlarge N x 3 x H x W, where that does not wait for the device."""
        return None if self._finishing is None else self._finishing.begin(rgb, repeats, self._size, self._finish)

    def end(self, begun: Begun | None) -> list[Sent] | None:
        """Return the words of `card_colour.to_words` for each frame that was `begun`; None where `enlarge` must be asked."""
        return None if self._finishing is None or begun is None else self._finishing.end(begun)

    def enlarge(self, rgb: torch.Tensor) -> torch.Tensor:
        """Enlarge N x 3 x H x W to the size of the encoding."""
        return self._enhancer.frames(rgb, self._size)

    def _take(self, width: int, height: int, pix_fmt: str) -> VideoFrame:
        from av.video.frame import VideoFrame

        return self._frames.take(width, height, pix_fmt) if self._pooled else VideoFrame(width, height, pix_fmt)

    def give_back(self, frame: VideoFrame) -> None:
        """Let the memory of a frame of `to_frame`, which is encoded, be used again."""
        if self._pooled:
            self._frames.give_back(frame)

    def to_frame(self, result: torch.Tensor) -> VideoFrame:
        """Convert the words of a frame, or one frame of `enlarge`, to a frame without alpha."""
        colour = self._header.encoding.colour
        if result.dim() == 1:
            return card_colour.to_frame(result, self._size, self._format, colour, self._take)
        return self._by.from_rgb(result, self._format, colour, self._take)  # type: ignore[no-any-return]
