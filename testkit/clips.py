"""Small seeded films for benchmarks and tests, and a fingerprint to compare results by."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def make_film(path: Path, frames: int, size: tuple[int, int] = (96, 64), gop: int = 5, seed: int = 0) -> Path:
    """Write an H.264 film with a drifting seeded texture (`size` is width, height; 25 fps) and a tone as AAC."""
    width, height = size
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 256, (height * 2, width * 2, 3), dtype=np.uint8)
    texture = np.kron(texture[::8, ::8], np.ones((8, 8, 1), np.uint8))
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"g": str(gop), "bf": "2", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = container.add_stream("aac", rate=48_000, layout="mono")
        samples = 0
        for n in range(frames):
            picture = np.roll(texture, (n, 2 * n), (0, 1))[:height, :width].copy()
            picture[:8, :8] = n % 256
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            container.mux(video.encode(frame))
            while samples < (n + 1) * 48_000 // 25:
                tone = np.sin(2 * np.pi * 440 / 48_000 * np.arange(samples, samples + 1024, dtype=np.float32))
                sound = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), format="fltp", layout="mono")
                sound.sample_rate, sound.pts, sound.time_base = 48_000, samples, Fraction(1, 48_000)
                container.mux(audio.encode(sound))
                samples += 1024
        container.mux(video.encode())
        container.mux(audio.encode())
    return path


def fingerprint(path: Path) -> list[tuple[int, str]]:
    """Return (pts in microseconds, SHA-256 of the picture) of every frame, decoded with one thread, in output order."""
    prints = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            assert frame.pts is not None
            digest = hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest()
            assert stream.time_base is not None
            prints.append((round(frame.pts * stream.time_base * 1_000_000), digest))
    return prints
