"""Memory of frames that is used again: never while an encoder reads it, and never more than allowed."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.codec.context import ThreadType
from av.video.frame import VideoFrame

from workers.film.frame_pool import FramePool
from workers.film.pixel_layout import layout, views

SIZE = (128, 64)
BYTES = 128 * 64 * 3 // 2


def filled(frame: VideoFrame, seed: int) -> VideoFrame:
    random = np.random.default_rng(seed)
    for plane in views(frame, layout("yuv420p")):
        np.copyto(plane, random.integers(16, 235, plane.shape, np.uint8))
    frame.pts = seed
    return frame


def address(frame: VideoFrame) -> int:
    return frame.planes[0].buffer_ptr


def test_memory_is_used_again() -> None:
    """The frame that was given back first comes first; without any there is a new one."""
    pool = FramePool(2 * BYTES)
    first, second = (pool.take(*SIZE, "yuv420p") for _ in range(2))
    known = [address(first), address(second)]
    pool.give_back(first)
    pool.give_back(second)
    del first, second
    again = [pool.take(*SIZE, "yuv420p") for _ in range(3)]
    assert [address(one) for one in again[:2]] == known
    assert pool.kept == 0
    assert address(again[2]) not in known


def test_what_is_kept_is_bounded() -> None:
    """Frames beyond the bound are dropped, and all of them when frames of another kind are asked for."""
    pool = FramePool(2 * BYTES)
    for frame in [pool.take(*SIZE, "yuv420p") for _ in range(5)]:
        pool.give_back(frame)
    assert pool.kept == 2 * BYTES
    other = pool.take(*SIZE, "yuv420p10le")
    assert pool.kept == 0
    pool.give_back(VideoFrame(*SIZE, "yuv420p"))
    assert pool.kept == 0
    pool.give_back(other)
    assert pool.kept == 2 * BYTES


def encoded(codec: str, pool: FramePool) -> list[bytes]:
    """Encode 24 frames, each of which is given back at once."""
    encoder = av.VideoCodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = *SIZE, "yuv420p", Fraction(1, 24)
    # With several threads x264 does not repeat its bytes for so small pictures.
    encoder.thread_type, encoder.thread_count = ThreadType.FRAME, 1 if codec == "libx264" else 4
    packets = list[bytes]()
    for n in range(24):
        frame = filled(pool.take(*SIZE, "yuv420p"), n)
        packets += [bytes(packet) for packet in encoder.encode(frame)]
        pool.give_back(frame)
    return packets + [bytes(packet) for packet in encoder.encode(None)]


@pytest.mark.parametrize("ahead", [1, 8])
@pytest.mark.parametrize("codec", ["ffvhuff", "libx264"])
def test_an_encoder_that_holds_frames_keeps_their_values(codec: str, ahead: int) -> None:
    """FFmpeg's frame threads refer to frames, x264 copies them: both make the packets that they make of frames with memory of their own."""
    pool = FramePool(24 * BYTES)
    for frame in [pool.take(*SIZE, "yuv420p") for _ in range(ahead)]:
        pool.give_back(frame)
    del frame
    expected = encoded(codec, FramePool(0))
    found = encoded(codec, pool)
    assert len(found) == 24
    assert found == expected
    assert pool.kept == ahead * BYTES, "no frame was made but those"
