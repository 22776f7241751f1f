"""The quantiser of a film's codec, read from the decoder: exact for MPEG-1, 2, 4 and H.264, from the tables of Motion JPEG."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import av
import av.error
import numpy as np
from av.sidedata.encparams import VideoEncParams, VideoEncParamsType

from contract.errors import BadInput
from training import jpeg_tables
from training.degrade import codec, film
from training.jpeg_tables import Table

MOST = 48
"""Frames that are looked at."""
COARSEST = 31
_EIGHT = 8


def of_film(path: Path) -> list[float]:
    """Return the quantiser of each of the first frames, on the scale of a damage file: 1 is the finest, 31 the coarsest.

    A frame's quantiser is the median of its macroblocks'. The list is empty for a codec whose decoder does not tell it.
    Raises BadInput when the film cannot be read.
    """
    options = {"format_whitelist": film.CONTAINERS, "protocol_whitelist": "file"}
    found: list[float] = []
    try:
        with av.open(str(path), options=options) as opened:
            if not opened.streams.video:
                return found
            stream = opened.streams.video[0]
            stream.codec_context.options = {"export_side_data": "venc_params"}
            for packet in opened.demux(stream):
                if stream.codec_context.name == "mjpeg":
                    found += _of_tables(bytes(packet))
                else:
                    found += [value for frame in packet.decode() for value in _of_frame(frame)]
                if len(found) >= MOST:
                    break
    except av.error.FFmpegError as error:
        raise BadInput(f"{path.name} cannot be read as a film: {error.strerror or error}.") from error
    return found[:MOST]


def _of_frame(frame: object) -> list[float]:
    assert isinstance(frame, av.VideoFrame)
    parameters = frame.side_data.get("VIDEO_ENC_PARAMS")
    if not isinstance(parameters, VideoEncParams) or not parameters.nb_blocks:
        return []
    middle = float(np.median(parameters.qp_map()))
    if parameters.codec_type is VideoEncParamsType.H264:
        return [codec.quantiser_of_h264(middle)]
    # MPEG's decoders report steps of half a quantiser.
    return [middle / 2]


def _of_tables(data: bytes) -> list[float]:
    """Compare a frame of Motion JPEG with the tables of FFmpeg's encoder; those of another encoder give the nearest quantiser."""
    table = jpeg_tables.luma_table(data)
    if table is None:
        return []
    matrix = _matrix()
    for whole in range(1, COARSEST + 1):
        if np.array_equal(table[1:], np.clip(matrix * whole // _EIGHT, 1, 255)[1:]):
            return [float(whole)]
    return [float(np.median(table[1:] / matrix[1:]) * _EIGHT)]


@lru_cache(maxsize=1)
def _matrix() -> Table:
    """Return the steps of FFmpeg's Motion JPEG encoder at quantiser 8, of which it takes eighths."""
    table = jpeg_tables.luma_table(codec.encoded(np.zeros((16, 16, 3), np.uint8), "mjpeg", _EIGHT))
    assert table is not None
    return table


def limits(quantisers: list[float]) -> tuple[int, int]:
    """Return the range of whole quantisers, from 1 to 31, that holds all of `quantisers`."""
    low, high = math.floor(min(quantisers)), math.ceil(max(quantisers))
    return min(max(low, 1), COARSEST), min(max(high, 1), COARSEST)
