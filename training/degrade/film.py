"""Degradation of a film: one draw for each shot, new noise and new dirt for each frame, all on record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import av
import av.error
import msgspec
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from contract.errors import BadInput
from stores.atomic_files import ended, replacing
from training.degrade.apply import degrade, output_size
from training.degrade.draw import Draw
from training.degrade.frame_draw import FrameDraw, draw_frame
from workers.shot_detection import Thumbnail, is_cut, thumbnail

SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".ts", ".webm", ".mpg")
# Only self-contained films: a playlist could name other files or hosts.
CONTAINERS = "mov,matroska,webm,mpegts,mpeg,avi"
# Nearly lossless: stronger compression would add a degradation that is not in the draws.
CRF = "16"
RECORD = ".frames.jsonl"
"""End of the name of a copy's record of frames."""


def record_of(copy: Path) -> Path:
    """Return the path of the record of a copy's frames."""
    return copy.with_name(ended(copy.name, RECORD))


def degrade_film(source: Path, out: Path, draws: Callable[[int], Draw], scale: float) -> tuple[list[Draw], list[str]]:
    """Write the degraded copy of `source` as H.264 with its first audio stream copied, and beside it the record of its frames.

    `draws(n)` returns the draw of shot n. Returns the draws used, in order of the shots, and notes on omitted streams. The record is named as
    the copy with `RECORD` at its end, and has one `FrameDraw` a line. Raises BadInput when the source cannot be read as a film.
    """
    used: list[Draw] = []
    try:
        with (
            replacing(out) as part,
            replacing(record_of(out)) as frames,
            frames.open("wb") as record,
            av.open(str(source), options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}) as film,
        ):
            if not film.streams.video:
                raise BadInput(f"{source.name} has no video stream to degrade; leave it out.")
            notes = _left_out(film, source.name)
            with av.open(str(part), "w", format="mp4") as copy:
                _copy(film, copy, draws, used, scale, record)
    except av.error.FFmpegError as error:
        raise BadInput(
            f"{source.name} cannot be degraded as a film: {error.strerror or error}; use an intact copy."
        ) from error
    return used, notes


def _frame_draw(used: list[Draw], number: int, size: tuple[int, int]) -> FrameDraw:
    """Return what `degrade` draws for a frame of the last shot."""
    shot, drawn = len(used) - 1, used[-1]
    return draw_frame(drawn.film, drawn.seed, number, size, shot) if drawn.film else FrameDraw(number, shot)


def _left_out(film: av.container.InputContainer, name: str) -> list[str]:
    taken = (film.streams.video[0].index, *(stream.index for stream in film.streams.audio[:1]))
    return [
        f"{name}: stream {stream.index} ({stream.type}) is not in the degraded copy."
        for stream in film.streams
        if stream.index not in taken
    ]


def _copy(
    film: av.container.InputContainer,
    copy: av.container.OutputContainer,
    draws: Callable[[int], Draw],
    used: list[Draw],
    scale: float,
    record: BinaryIO,
) -> None:
    picture = film.streams.video[0]
    sound = film.streams.audio[0] if film.streams.audio else None
    size = output_size(picture.height, picture.width, scale)
    height, width = (side - side % 2 for side in size)
    video = copy.add_stream("libx264", rate=picture.average_rate or picture.guessed_rate, options={"crf": CRF})
    assert isinstance(video, VideoStream)
    video.width, video.height, video.pix_fmt = width, height, "yuv420p"
    video.codec_context.thread_count = 1  # x264 gives other bytes for other numbers of threads
    if picture.time_base is not None:
        video.codec_context.time_base = picture.time_base
    audio = copy.add_stream_from_template(sound) if sound is not None else None
    last: Thumbnail | None = None
    number = 0
    for packet in film.demux(picture, *((sound,) if sound is not None else ())):
        if isinstance(packet.stream, AudioStream):
            if packet.dts is not None and audio is not None:
                packet.stream = audio
                copy.mux(packet)
            continue
        for frame in packet.decode():
            assert isinstance(frame, av.VideoFrame)
            pixels = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
            small = thumbnail(pixels)
            if last is None or is_cut(last, small):
                used.append(draws(len(used)))
            last = small
            worse = av.VideoFrame.from_ndarray(degrade(pixels, used[-1], scale, number)[:height, :width], "rgb24")
            worse.pts, worse.time_base = frame.pts, frame.time_base
            copy.mux(video.encode(worse))
            record.write(msgspec.json.encode(_frame_draw(used, number, size)) + b"\n")
            number += 1
    copy.mux(video.encode())
