"""Encoders are opened without a trace in the process that opens them."""

from __future__ import annotations

import os
import sys
from fractions import Fraction

import av
import pytest

from contract.errors import Unsupported
from media.codecs import choose_pix_fmt, open_encoder


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0,
    reason="SVT-AV1 asks Linux for another scheduling class, and only root gets it",
)
@pytest.mark.parametrize(("rate", "opens"), [(25, True), (1200, False)])
def test_no_encoder_makes_its_process_real_time(rate: int, opens: bool) -> None:
    """SVT-AV1, run by root, does so before it looks at what it was asked for; 240 frames a second are its most."""
    before = os.sched_getscheduler(0)
    context = av.CodecContext.create("libsvtav1", "w")
    context.width = context.height = 64
    context.pix_fmt, context.framerate, context.time_base = "yuv420p", Fraction(rate), Fraction(1, rate)
    if opens:
        open_encoder(context)
    else:
        with pytest.raises(av.FFmpegError):
            open_encoder(context)
    assert os.sched_getscheduler(0) == before


def test_x264_has_a_thread_for_each_frame() -> None:
    """x264 writes its settings into the film: as many threads as asked for, and no slices, which PyAV has by default."""
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width = context.height = 256
    context.pix_fmt, context.framerate, context.time_base = "yuv420p", Fraction(25), Fraction(1, 25)
    open_encoder(context, threads=4)
    frame = av.VideoFrame(256, 256, "yuv420p")
    frame.pts = 0
    stream = b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
    assert b" threads=4 " in stream
    assert b" sliced_threads=0 " in stream


def test_advice_names_no_codec_that_was_asked_for() -> None:
    """Grey of 16 bits with transparency fits no format of FFV1: only the loss is left, where x264 has FFV1 to name."""
    with pytest.raises(Unsupported, match=r"ffv1 cannot hold .*; accept the loss with --pix-fmt"):
        choose_pix_fmt("ffv1", "ya16be", None)
    with pytest.raises(Unsupported, match="choose --codec ffv1, or accept the loss with --pix-fmt"):
        choose_pix_fmt("x264", "ya16be", None)
