"""Compression of images by an old video codec, with PyAV."""

from __future__ import annotations

import math
from fractions import Fraction

import av
import numpy as np
import torch
from av.video.codeccontext import VideoCodecContext

_MULTIPLE = 16
"""Codecs work in macroblocks; the padding is cropped again."""
_H264_ONE = 12
"""The quantiser of H.264 that stands for 1."""


def recode(images: torch.Tensor, codec: str, quantiser: int) -> torch.Tensor:
    """Encode N x 3 x H x W images in [0, 1] as N key frames at a fixed quantiser (1 is best), and decode them.

    Each image is coded alone, so its result does not depend on the other images of a batch. Chroma is 4:2:0.
    """
    pixels = (images.clamp(0, 1) * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
    done = np.stack([_one(np.ascontiguousarray(picture), codec, quantiser) for picture in pixels])
    return torch.from_numpy(done).permute(0, 3, 1, 2).to(images) / 255


def _one(pixels: np.ndarray, codec: str, quantiser: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    decoder = av.CodecContext.create("h264" if codec == "libx264" else codec, "r")
    assert isinstance(decoder, VideoCodecContext)
    data = encoded(pixels, codec, quantiser)
    packet = av.Packet(len(data))  # a packet made of bytes lacks the padding that decoders read
    packet.update(data)
    frames = [*decoder.decode(packet), *decoder.decode(None)]
    return frames[0].to_ndarray(format="rgb24")[:height, :width]


def encoded(pixels: np.ndarray, codec: str, quantiser: int) -> bytes:
    """Encode one H x W x 3 image as a key frame at a fixed quantiser; return the packet's bytes."""
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
        # Key frames would get a finer quantiser than the one given without the ratio of 1.
        options = {
            "qp": str(h264_quantiser(quantiser)),
            "preset": "veryfast",
            "x264-params": "ipratio=1:repeat-headers=1",
        }
        encoder.options = options
    else:
        encoder.qmin = encoder.qmax = quantiser
        encoder.options = {"flags": "+qscale", "global_quality": str(quantiser * 118)}  # FF_QP2LAMBDA
    frame = av.VideoFrame.from_ndarray(padded, "rgb24").reformat(format=encoder.pix_fmt)
    frame.pts = 0
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))


def h264_quantiser(quantiser: int) -> int:
    """Return H.264's quantiser, which runs to 51 and is logarithmic: six steps double it, as one doubling of MPEG's does."""
    return min(51, round(_H264_ONE + 6 * math.log2(quantiser)))


def quantiser_of_h264(value: float) -> float:
    """Return the quantiser on MPEG's scale, at least 1, of one of H.264's: the inverse of `h264_quantiser`."""
    return max(1.0, math.pow(2, (value - _H264_ONE) / 6))
