"""Compression of images by an old video codec, with PyAV."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import torch
from av.video.codeccontext import VideoCodecContext

_MULTIPLE = 16
"""Codecs work in macroblocks; the padding is cropped again."""


def recode(images: torch.Tensor, codec: str, quantiser: int) -> torch.Tensor:
    """Encode N x 3 x H x W images in [0, 1] as N key frames at a fixed quantiser (1 is best), and decode them.

    Each image is coded alone, so its result does not depend on the other images of a batch. Chroma is 4:2:0.
    """
    pixels = (images.clamp(0, 1) * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
    done = np.stack([_one(np.ascontiguousarray(picture), codec, quantiser) for picture in pixels])
    return torch.from_numpy(done).permute(0, 3, 1, 2).to(images) / 255


def _one(pixels: np.ndarray, codec: str, quantiser: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % _MULTIPLE), (0, -width % _MULTIPLE), (0, 0)), mode="edge")
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height = padded.shape[1], padded.shape[0]
    encoder.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.framerate = Fraction(25)
    encoder.thread_count = 1
    if codec == "libx264":
        # H.264's quantiser runs to 51 and is logarithmic: six steps double it, as one doubling of MPEG's does.
        encoder.options = {"qp": str(min(51, round(12 + 6 * np.log2(quantiser)))), "preset": "veryfast"}
    else:
        encoder.qmin = encoder.qmax = quantiser
        encoder.options = {"flags": "+qscale", "global_quality": str(quantiser * 118)}  # FF_QP2LAMBDA
    frame = av.VideoFrame.from_ndarray(padded, "rgb24").reformat(format=encoder.pix_fmt)
    frame.pts = 0
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    decoder = av.CodecContext.create("h264" if codec == "libx264" else codec, "r")
    assert isinstance(decoder, VideoCodecContext)
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    frames = [decoded for packet in packets for decoded in decoder.decode(packet)] + list(decoder.decode(None))
    return frames[0].to_ndarray(format="rgb24")[:height, :width]
