"""Materials whose decoders need headers that were sent once, long before, or replaced in the middle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import av
import numpy as np

from testkit.materials.joined import joined_flv, joined_mp4, patched, timed, without_jpeg_tables, without_later
from testkit.materials.recipe import H264, Material, film, x264, x265
from testkit.materials.write import Film, write

CABAC = replace(H264, frames=36)
CAVLC = replace(H264, frames=36, seed=2, options=x264(cabac=0, ref=2, **{"8x8dct": 0}))
PLAIN = replace(H264, frames=36, options=x264(6, bframes=0))
PLAIN_CAVLC = replace(H264, frames=36, seed=2, options=x264(6, bframes=0, cabac=0, ref=1, **{"8x8dct": 0}))
HEVC = Film("mp4", "libx265", x265(), frames=36)
HEVC_OTHER = replace(HEVC, seed=2, options=x265(ctu=16, ref=1, sao=0, **{"max-tu-size": 16}))
MPEG4 = Film("m4v", "mpeg4", {"g": "6", "bf": "0"}, frames=36)
MPEG4_OTHER = replace(MPEG4, seed=2, options={"g": "6", "bf": "0", "mpeg_quant": "1"})
MPEG2 = Film("mpeg2video", "mpeg2video", {"g": "6", "bf": "2", "b": "3M"}, frames=36)


def h264_set(unit: bytes) -> bool:
    """Report whether a NAL unit is a parameter set of H.264."""
    return unit[0] & 31 in (7, 8)


def hevc_set(unit: bytes) -> bool:
    """Report whether a NAL unit is a parameter set of HEVC."""
    return unit[0] >> 1 & 63 in (32, 33, 34)


def sets_once(base: Film, other: Film, wanted: object, count: int) -> bytes:
    """Join two raw streams; each has its parameter sets at its start only."""
    form = "hevc" if base.codec == "libx265" else "h264"
    parts = [write(replace(part, format=form)) for part in (base, other)]
    return b"".join(without_later(part, wanted, count) for part in parts)  # type: ignore[arg-type]


def volumes_once() -> bytes:
    """Join two MPEG-4 streams in AVI; they are quantised by different rules and each has its header once."""
    head = lambda unit: unit[0] in (0xB0, 0xB2, 0xB5) or unit[0] < 0x30  # noqa: E731
    first, second = (without_later(write(part), head, 4) for part in (MPEG4, MPEG4_OTHER))
    return timed(first + second, "avi")


def sequences_once() -> bytes:
    """Join two MPEG-2 streams; each has its sequence header once, the second with its own quantisation matrices."""
    parts = []
    for seed in (1, 2):
        data = write(replace(MPEG2, seed=seed))
        units = data.split(b"\0\0\1")
        units[1] = with_matrix(units[1]) if seed == 2 else units[1]
        kept = [
            u for i, u in enumerate(units) if i < 3 or not u or not (u[0] == 0xB3 or (u[0] == 0xB5 and u[1] >> 4 == 1))
        ]
        parts.append(b"\0\0\1".join(kept).removesuffix(b"\0\0\1\xb7"))
    return b"".join(parts)


def with_matrix(unit: bytes) -> bytes:
    """Make an MPEG-2 sequence header, without its start code, load an intra matrix (ITU-T H.262 6.2.2.1)."""
    matrix = b"".join((8 if i == 0 else 16 + i).to_bytes(1, "big") for i in range(64))
    bits = f"{int.from_bytes(unit[:9], 'big'):072b}"
    bits = bits[:70] + "1" + "".join(f"{b:08b}" for b in matrix) + bits[71]
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def tables_once() -> bytes:
    """Make Motion JPEG whose tables come with pictures 0 and 30 only."""
    data = write(Film("avi", "mjpeg", {"qmin": "2", "qmax": "9", "b": "900k"}, pix_fmt="yuvj420p"))
    return patched(data, "avi", lambda n, jpeg: (jpeg if n in (0, 30) else without_jpeg_tables(jpeg), {}))


def indexed(width: int, height: int, i: int, pix_fmt: str, seed: int) -> av.VideoFrame:
    """Draw a frame of 256 colours, with one palette for the whole film."""
    del pix_fmt
    colours = np.random.default_rng(seed).integers(0, 256, (256, 4), dtype=np.uint8)
    colours[:, 0] = 255
    y, x = np.mgrid[0:height, 0:width]
    pixels = ((x * 3 + y * 5 + i * 7) % 256).astype(np.uint8)
    return av.VideoFrame.from_ndarray(cast(Any, [pixels, colours]), format="pal8")  # the stubs know no palettes


HEADERS: tuple[Material, ...] = (
    Material("two-sample-descriptions", "mp4", lambda: joined_mp4(write(CABAC), write(CAVLC))),
    Material("two-sample-descriptions-to-mp4", "mp4", lambda: joined_mp4(write(CABAC), write(CAVLC)), "mp4"),
    Material("two-sample-descriptions-hevc", "mp4", lambda: joined_mp4(write(HEVC), write(HEVC_OTHER))),
    Material(
        "flv-joined",
        "flv",
        lambda: joined_flv(write(replace(CABAC, format="flv")), write(replace(CAVLC, format="flv"))),
    ),
    Material("h264-parameter-sets-once", "h264", lambda: sets_once(CABAC, CAVLC, h264_set, 2)),
    Material("h264-parameter-sets-once-ts", "ts", lambda: timed(sets_once(PLAIN, PLAIN_CAVLC, h264_set, 2), "mpegts")),
    Material("hevc-parameter-sets-once", "hevc", lambda: sets_once(HEVC, HEVC_OTHER, hevc_set, 3)),
    Material("mpeg4-headers-once", "avi", volumes_once),
    Material("mpeg2-sequence-headers-once", "m2v", sequences_once),
    Material("mjpeg-tables-once", "avi", tables_once),
    Material("palette-once", "avi", film(Film("avi", "rawvideo", pix_fmt="pal8", frames=90, picture=indexed))),
)
