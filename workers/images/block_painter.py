"""Enhancement of one block of an image: grey, colour and alpha, interpreted by the ICC profile."""

from __future__ import annotations

import torch

from contract.job import Spec
from contract.provenance import CLASSICAL
from media.images.header import Picture
from media.images.output_plan import Target
from workers.generators.enhancer import Enhancer
from workers.generators.lanczos import Kernel, resize_window
from workers.images.blocks import Block
from workers.images.icc_curves import Interpretation, interpret
from workers.images.icc_tables import tables
from workers.images.rows import Pixels, to_tensor
from workers.images.sample_scale import SampleScale


class Painter:
    """The generator for blocks of one page. `notes` are for the user, about the interpretation of its pixels.

    `profile` is the ICC profile of the samples, None for sRGB.
    """

    def __init__(self, enhancer: Enhancer, spec: Spec, picture: Picture, target: Target, profile: bytes | None) -> None:
        self._enhancer = enhancer
        self._spec = spec
        self._target = target
        self._colours = 1 if target.mode == "grey" else 3
        self._exact = picture.deep
        self._interpretation = None
        self.notes: list[str] = []
        self._scale = SampleScale(picture, target, spec)
        if profile is not None and not enhancer.identity:
            self._interpretation, reason = interpretation_of(profile, self._colours)
            if reason:
                self.notes.append(reason)

    def paint(self, samples: Pixels, block: Block) -> torch.Tensor:
        """Compute the block's result, 1 x bands x h x w float32 (black 0, white 1), from the part `block.shown` of the source."""
        x = to_tensor(samples).to(self._enhancer.device)
        colour = self._scale.normalise(x[:, : self._colours])
        if self._interpretation is None:
            enlarged = self._generate(colour, block)
        else:
            seen = self._interpretation.to_srgb(colour)
            # The change of a pixel by the conversion to sRGB and back is compensated outside the network.
            lost = colour - self._interpretation.from_srgb(seen)
            enlarged = self._interpretation.from_srgb(self._generate(seen, block))
            if float(lost.abs().max()) > _LOST:
                enlarged = enlarged + _plain(lost, block, "lanczos")
        enlarged = self._scale.restore(enlarged)
        if x.shape[1] == self._colours or (self._target.extra == "unspecified" and not self._target.alpha):
            return enlarged
        alpha = x[:, -1:]
        if self._spec.alpha == "network":
            larger = self._generate(alpha, block)
        else:
            larger = _plain(alpha, block, "cubic").clamp(0, 1)
        return torch.cat((enlarged, larger), 1) if self._target.alpha else enlarged * larger + (1 - larger)

    def conclude(self, whole: bool) -> list[str]:
        """Return all notes, with those on the samples' range if the `whole` page was painted."""
        generative = self._spec.model not in CLASSICAL
        return [*self.notes, *self._scale.notes(generative and whole)]

    def _generate(self, x: torch.Tensor, block: Block) -> torch.Tensor:
        """Enlarge 1 x 1 or 3 x H x W by the network; values outside [0, 1], which it cannot take, are added by Lanczos."""
        inside = x.clamp(0, 1)
        outside = x - inside
        s = self._enhancer.scale
        top, left, bottom, right = block.shown
        shown = inside if x.shape[1] == 3 else inside.expand(-1, 3, -1, -1)
        native = self._enhancer.frames(shown, ((bottom - top) * s, (right - left) * s), exact=self._exact)
        if x.shape[1] == 1:
            native = _luma(native)
        if block.native == block.size:
            rows = slice(block.out[0] - top * s, block.out[2] - top * s)
            columns = slice(block.out[1] - left * s, block.out[3] - left * s)
            native = native[..., rows, columns]
        else:
            native = resize_window(native, (top * s, left * s), block.native, block.size, block.out).clamp(0, 1)
        return native + _plain(outside, block, "lanczos") if bool(outside.any()) else native


def interpretation_of(profile: bytes, colours: int) -> tuple[Interpretation | None, str]:
    """Interpret pixels of `colours` channels by `profile`, by curves or tables; return None and perhaps a reason for sRGB."""
    found, reason = interpret(profile, colours)
    return tables(profile) if reason == "tables" else (found, reason)


_LOST = 1 / 4 / 65535
"""A quarter of a 16-bit level: smaller changes are rounding errors."""


def _plain(x: torch.Tensor, block: Block, kernel: Kernel) -> torch.Tensor:
    """Resample the block from the source's pixels with a classical kernel."""
    top, left = block.shown[:2]
    return resize_window(x, (top, left), block.source, block.size, block.out, kernel)


def _luma(rgb: torch.Tensor) -> torch.Tensor:
    """Convert the network's RGB to grey with BT.601's weights, as upstream's cv2.COLOR_RGB2GRAY does."""
    weights = torch.tensor([0.299, 0.587, 0.114], device=rgb.device).reshape(1, 3, 1, 1)
    return (rgb * weights).sum(1, keepdim=True)
