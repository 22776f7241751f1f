"""Colour tags of frames, which encoders copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av

    from contract.film import Colour


def tag(frame: av.VideoFrame, colour: Colour) -> None:
    """Set the source's colour tags on a frame, for the encoder to copy."""
    frame.colorspace = colour.space
    frame.color_range = colour.range
    frame.color_primaries = colour.primaries
    frame.color_trc = colour.transfer
