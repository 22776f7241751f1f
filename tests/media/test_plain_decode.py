"""The witness's plain decode reads every frame of a film, whichever stream the film is."""

from __future__ import annotations

import io
import threading

import av
import av.logging
import numpy as np
import pytest

from media.opening import DecoderLog, open_media
from media.plain_decode import Look, read_file

FRAMES = 30


def _film(order: tuple[str, ...]) -> bytes:
    """Make a Matroska film whose pictures are reordered, so that the decoder must be drained, with its streams in `order`."""
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as container:
        streams = {kind: [] for kind in order}
        for kind in order:
            stream = container.add_stream(
                "libx264" if kind == "video" else "aac", rate=25 if kind == "video" else 48000
            )
            if kind == "video":
                stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
                stream.options = {"bf": "3", "preset": "veryfast"}
            streams[kind].append(stream)
        for n in range(FRAMES):
            for stream in streams["video"]:
                pixels = np.full((48, 64, 3), n * 8, np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts = n
                container.mux(stream.encode(frame))
        for stream in streams["video"]:
            container.mux(stream.encode())
    return out.getvalue()


@pytest.mark.parametrize("order", [("video",), ("audio", "video"), ("video", "video")])
def test_the_last_frames_are_drained_from_every_stream(order: tuple[str, ...]) -> None:
    """A decoder holds frames back until it is drained; they belong to their own stream, not to the file's first."""
    with open_media(io.BytesIO(_film(order)), "film.mkv") as container:
        reading = read_file(container, Look())
    counts = [reading.streams[n].frames for n, kind in enumerate(order) if kind == "video"]
    assert counts == [FRAMES] * order.count("video")


def test_complaints_of_a_decoder_s_threads_wait_for_their_stream() -> None:
    """A thread complains of a picture while sound is decoded: the complaint is taken with the next picture."""
    with DecoderLog("", threads=True) as log:
        log.awaited = frozenset(("ffv1", "aac"))
        thread = threading.Thread(target=lambda: av.logging.log(av.logging.ERROR, "ffv1", "slice CRC mismatch"))
        thread.start()
        thread.join()
        av.logging.log(av.logging.ERROR, "swscaler", "of no stream")
        assert log.take_of("aac") == []
        assert log.take_of("ffv1") == ["slice CRC mismatch"]
        assert log.take_of("swscaler") == []
