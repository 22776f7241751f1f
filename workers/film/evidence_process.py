"""The process that looks for faults over time in an untrusted film: `python -m workers.film.evidence_process FD CONTROL`.

It is started, confined and limited as `orchestrator.sandbox.child` is, which may not load OpenCV: one order on stdin, the open film
through the socket CONTROL, and one JSON object on FD, {"ended": true, "evidence": ...} or {"error": ..., "message": ...}.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO

import av.error
import cv2
import msgspec
from av.codec.context import ThreadType
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

import contract
import media
import stores
import workers
from contract import logging, settings
from contract.documents import encode
from contract.errors import BadInput, RespoolError
from contract.evidence import PREROLL, Evidence, Look, LookOrder, Place
from media.demuxing import only
from media.opening import open_media, reason
from stores.confinement import confine
from stores.limits import Allowance
from stores.processes import die_with_parent
from workers.film.deinterlace import deinterlaced
from workers.film.evidence import look
from workers.film.picture import evenly

_PACKAGES = (contract, media, stores, workers)
"""Folders of our own code, some of which is imported late."""


def main() -> None:
    """Execute one order, or nothing when the parent closes stdin first."""
    die_with_parent()
    known = settings.load()
    logging.configure(known)
    cv2.setNumThreads(1)
    line = sys.stdin.buffer.readline()
    if not line:
        return
    order = msgspec.json.decode(line, type=LookOrder)
    control = socket.socket(fileno=int(sys.argv[2]))
    with os.fdopen(int(sys.argv[1]), "wb", buffering=0) as answer, control:
        try:
            allowance = Allowance(known)
            confine(known.scratch, _PACKAGES)
            allowance.begin()
            _, files, _, _ = socket.recv_fds(control, 1, 1)
            with os.fdopen(files[0], "rb") as source:
                found = evidence(source, order, allowance.step)
            _say(answer, {"ended": True, "evidence": encode(found).decode()})
        except (RespoolError, MemoryError) as error:
            _say(answer, {"error": type(error).__name__, "message": str(error)})


def evidence(source: BinaryIO, order: LookOrder, checkpoint: Callable[[], None]) -> Evidence:
    """Look at the places of the film in `source`; `checkpoint` is called at each frame. Raises BadInput where none can be looked at."""
    looks: list[Look] = []
    reasons: list[str] = []
    for place in order.places:
        try:
            found = _look(source, order, place, checkpoint)
        except av.error.FFmpegError as error:
            reasons.append(f"frame {place.first} cannot be sought ({reason(error)})")
            continue
        if found is None:
            reasons.append(f"frame {place.first} cannot be reached from the key frame before it in {PREROLL} frames")
        else:
            looks.append(found)
    if not looks:
        raise BadInput(f"no place of {order.name} could be looked at: {'; '.join(reasons)}.")
    return Evidence(tuple(looks), "; ".join(reasons))


def _look(source: BinaryIO, order: LookOrder, place: Place, checkpoint: Callable[[], None]) -> Look | None:
    with open_media(source, order.name) as container:
        stream = container.streams[order.stream]
        assert isinstance(stream, VideoStream)
        only(container, {stream.index})
        stream.codec_context.thread_type = ThreadType.AUTO
        if place.pts is not None:
            container.seek(place.pts, stream=stream)
        frames = _frames(_decoded(container, stream, checkpoint), place)
        if order.deinterlace:
            frames = deinterlaced(frames, order.scanning)
        return look(evenly(frames), place, order.filters, order.colour)


def _decoded(
    container: InputContainer, stream: VideoStream, checkpoint: Callable[[], None]
) -> Iterator[VideoFrame | None]:
    """Yield the decoder's frames, None for one that it refuses or guesses; end where the demuxer does."""
    packets = container.demux(stream)
    while True:
        checkpoint()
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:  # the film breaks off; planning has said so
            return
        if packet is None:
            return
        if not packet.size and packet.pts is not None:
            continue
        try:
            for frame in stream.codec_context.decode(packet if packet.size else None):
                yield None if frame.is_corrupt else frame
        except av.error.FFmpegError:
            yield None


def _frames(frames: Iterator[VideoFrame | None], place: Place) -> Iterator[tuple[int, VideoFrame]]:
    """Yield the place's frames with their positions, without damaged ones; none where they begin too far away."""
    position, reached = place.first, place.pts is None
    for number, frame in enumerate(frames):
        if not reached:
            if frame is None or frame.pts is None or place.pts is None or frame.pts < place.pts:
                if number >= PREROLL:
                    return
                continue
            reached = True
        if frame is not None:
            yield position, frame
        position += 1
        if position == place.first + place.count:
            return


def _say(answer: BinaryIO, message: dict[str, object]) -> None:
    answer.write(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
