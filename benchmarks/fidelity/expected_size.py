"""Expected against true sizes of films: small films of several materials, restored and encoded as a chunk is.

`python -m benchmarks.fidelity.expected_size [--rows FILE]` prints, for each encoder, how many results lie in the announced range.
"""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, cast

import av
import msgspec
import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage import data

from contract.film import Colour, Encoding
from contract.job import Codec, Spec
from contract.settings import Settings
from media import nvenc
from media.codecs import ENCODERS, choose_pix_fmt, encoder_options, open_encoder
from media.encoder_trial import small, try_encoder
from orchestrator.submission.expected_size import picture_bytes
from training.evaluate.methods import method

if TYPE_CHECKING:
    from av.video.stream import VideoStream

Frames = list[npt.NDArray[np.uint8]]

SIZE, FRAMES = (128, 96), 48
SOURCES = {
    "h264 crf 12": ("libx264", {"crf": "12"}),
    "h264 crf 18": ("libx264", {"crf": "18"}),
    "h264 crf 30": ("libx264", {"crf": "30"}),
    "mjpeg": ("mjpeg", {}),
}
WAYS = (("lanczos", 1), ("lanczos", 2), ("lanczos", 4), ("realesr-animevideov3", 2), ("realesr-animevideov3", 4))


def materials() -> dict[str, Frames]:
    """Pictures that move in different ways: a pan, a zoom, film grain on a still picture, flat shapes, and cuts."""
    made = {name: _window(getattr(data, name)(), name) for name in ("astronaut", "coffee", "chelsea", "rocket")}
    grey = np.repeat(data.camera()[..., None], 3, axis=2)
    rng = np.random.default_rng(1)
    still = _window(grey, "still")[0].astype(float)
    grain = [
        np.clip(still + rng.normal(0, 8, still.shape[:2])[..., None], 0, 255).astype(np.uint8) for _ in range(FRAMES)
    ]
    cuts = [made[list(made)[n // 12 % 4]][n] for n in range(FRAMES)]
    return made | {"grain": grain, "cuts": cuts, "drawn": _drawn()}


def _window(picture: npt.NDArray[np.uint8], name: str) -> Frames:
    """Move a window of SIZE over `picture`; `coffee` and `rocket` are zoomed by parts of a pixel."""
    image = Image.fromarray(picture).resize((320, 240), Image.Resampling.LANCZOS)
    found = []
    for n in range(FRAMES):
        grow = 1 + 0.01 * n if name in ("coffee", "rocket") else 1.0
        left, top = (40, 40) if grow > 1 else (2 * n, n)
        box = (left, top, left + SIZE[0] * grow, top + SIZE[1] * grow)
        found.append(np.asarray(image.resize(SIZE, Image.Resampling.LANCZOS, box=box)))
    return found


def _drawn() -> Frames:
    """Flat discs with outlines on a gradient, each moving by its own step."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]].astype(float)
    found = []
    for n in range(FRAMES):
        frame = np.stack([90 + y, 120 + x / 2, np.full_like(x, 180)], axis=2)
        for k in range(5):
            distance = np.hypot(x - (20 + 25 * k + (k - 2) * n / 3) % SIZE[0], y - 15 - 16 * k)
            frame[distance < 14] = (20, 20, 30)
            frame[distance < 12] = (40 * k + 50, 200 - 30 * k, 80)
        found.append(np.clip(frame, 0, 255).astype(np.uint8))
    return found


def encoded(frames: Frames, encoder: str, pix_fmt: str, options: dict[str, str]) -> tuple[bytes, int]:
    """Return the frames in Matroska, and the bytes of their packets."""
    out, size = io.BytesIO(), 0
    with av.open(out, "w", format="matroska") as container:
        stream = cast("VideoStream", container.add_stream(encoder, rate=25, options=options))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        open_encoder(stream.codec_context)
        for n, picture in enumerate([*frames, None]):
            frame = None if picture is None else av.VideoFrame.from_ndarray(picture, format="rgb24")
            if frame is not None:
                frame.pts, frame.time_base = n, Fraction(1, 25)
            for packet in stream.encode(frame):
                size += packet.size
                container.mux(packet)
    return out.getvalue(), size


def decoded(film: bytes) -> Frames:
    """Return the frames of a film as RGB."""
    with av.open(io.BytesIO(film), "r") as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


@dataclass(frozen=True)
class Measurement:
    """Bytes of a result and of its source, and the announced range."""

    material: str
    source: str
    model: str
    scale: int
    codec: str
    before: int
    after: int
    low: int
    high: int


def measured(codecs: Sequence[Codec]) -> Iterator[Measurement]:
    """Yield a measurement for each material, source, enlargement and encoder of `codecs`."""
    generators = {name: method(name, Settings())[1] for name in dict.fromkeys(name for name, _ in WAYS)}
    for material, frames in materials().items():
        for source, (encoder, options) in SOURCES.items():
            film, before = encoded(frames, encoder, "yuvj420p" if encoder == "mjpeg" else "yuv420p", options)
            shown = decoded(film)
            for model, scale in WAYS:
                large = [generators[model](frame, (SIZE[1] * scale, SIZE[0] * scale)) for frame in shown]
                for codec in codecs:
                    plan = _encoding(codec, scale)
                    _, after = encoded(large, plan.encoder, plan.pix_fmt, plan.options)
                    expected = picture_bytes(plan, SIZE, FRAMES, before)
                    yield Measurement(material, source, model, scale, codec, before, after, *expected)


def _encoding(codec: Codec, scale: int) -> Encoding:
    pix_fmt = choose_pix_fmt(codec, "yuv420p", None)[0]
    options = encoder_options(codec, Spec("lanczos"), pix_fmt)
    size = (SIZE[0] * scale, SIZE[1] * scale)
    return Encoding(codec, ENCODERS[codec].name, pix_fmt, *size, (25, 1), options, Colour("bt601", False))


def main() -> None:
    """Measure, and print for each encoder the share within the range and the range's width."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, help="also write each measurement to this file, one JSON object a line")
    asked = parser.parse_args()
    os.environ.setdefault("SVT_LOG", "1")
    codecs = [codec for codec in ENCODERS if codec not in nvenc.ENCODERS or not try_encoder(small(codec)).problem]
    found = list(measured(codecs))
    if asked.rows:
        asked.rows.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in found))
    for codec in codecs:
        of = [one for one in found if one.codec == codec]
        within = sum(one.low <= one.after <= one.high for one in of)
        wide = median(one.high / one.low for one in of)
        print(f"{codec:8} {within} of {len(of)} within the range; its end is {wide:.1f} times its beginning")


if __name__ == "__main__":
    main()
