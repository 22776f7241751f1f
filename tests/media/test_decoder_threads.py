"""A decoder with threads goes without a deadlock, whatever its threads still have to say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import io, random, sys, av
from testkit.clips import make_film
from media.opening import DecoderLog, open_media
from pathlib import Path

data, drawn = bytearray(make_film(Path(sys.argv[1]), 60, (640, 480), gop=60).read_bytes()), random.Random(1)
for _ in range(400):
    data[drawn.randrange(2000, len(data) - 2000)] ^= 255
for n in range(20):
    with DecoderLog("h264", threads=True), open_media(io.BytesIO(data), "film") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type, stream.codec_context.thread_count = "AUTO", 4
        frames = 0
        for packet in container.demux(stream):
            try:
                frames += len(stream.codec_context.decode(packet))
            except av.error.FFmpegError:
                continue
            if frames > n % 5:
                break
    del container, stream
print("went")
"""


def test_a_decoder_left_in_the_middle_of_a_damaged_film_goes(tmp_path: Path) -> None:
    """Threads that log while their decoder is freed do not deadlock on the interpreter's lock.

    The test runs in a process of its own, since nothing inside the process could end such a wait.
    """
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "film.mp4")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, cwd=Path(__file__).parents[2], check=False
    )
    assert done.stdout == "went\n", done.stderr
