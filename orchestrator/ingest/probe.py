"""A film's headers: streams, colour, shape, timing.

Nothing is decoded except one frame where a display matrix is announced, since only frames hold it whole.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import av.error
from av.sidedata.sidedata import Type
from av.video.stream import VideoStream

from contract.errors import BadInput
from contract.film import Colour, Matrix, SourceStream, StreamKind
from media.codecs import pixel_class
from media.copied_streams import codec_name
from media.demuxing import codec_in, header_dump
from orchestrator.ingest.film_choice import choose_film

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream

MAX_SIDE = 16384
MAX_PIXELS = 8192 * 8192
"""Pixels of a frame. A header that announces more is refused: it is wrong, or the frame would exhaust a worker."""
COVER, STILL = 1 << 10, 1 << 20
UNTAGGED = 2
"""FFmpeg's AVCOL_TRC_UNSPECIFIED."""
_MATRIX = {0: "rgb", 1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt709", 9: "bt2020", 10: "bt2020"}


@dataclass(frozen=True)
class Picture:
    """The shape and meaning of the film's frames."""

    width: int
    height: int
    pix_fmt: str
    colour: Colour
    sar: tuple[int, int]
    turned: bool
    """True when a display matrix is announced."""
    display_matrix: Matrix | None = None


def film_stream(container: InputContainer, what: str) -> VideoStream:
    """Return the stream that is the film where no option names another; raises as `choose_film`."""
    return choose_film(container, None, what).stream


def describe_streams(container: InputContainer, film: VideoStream) -> tuple[SourceStream, ...]:
    """Describe all streams of the source in its order, before it is known which of them the result can hold."""
    found = []
    dump = header_dump(container)
    for stream in container.streams:
        kind = _kind(stream)
        named = codec_in(dump, stream) if _unknown(stream) and kind != "attachment" else ""
        found.append(
            SourceStream(
                index=stream.index,
                kind=kind,
                codec=named or codec_name(stream),
                copied=stream.index != film.index,
                language=stream.metadata.get("language", ""),
                title=stream.metadata.get("title", ""),
                disposition=int(stream.disposition),
            )
        )
    return tuple(found)


def _unknown(stream: Stream) -> bool:
    """Return True if there is no decoder for it, contrary to PyAV's stubs; then it cannot be copied either."""
    return getattr(stream, "codec_context", None) is None


def _kind(stream: Stream) -> StreamKind:
    if stream.type == "video":
        return "cover" if stream.disposition & COVER else "video"
    if stream.type == "subtitle" and _unknown(stream):
        return "data"  # teletext, say
    if stream.type in ("audio", "subtitle", "data", "attachment"):
        return stream.type
    return "other"


def describe_picture(container: InputContainer, film: VideoStream, what: str) -> Picture:
    """Describe size, format, colour, shape. Raises BadInput or Unsupported for what cannot be a film."""
    context = film.codec_context
    width, height, pix_fmt = context.width, context.height, context.pix_fmt
    if not width or not height or not pix_fmt:
        raise BadInput(f"{what} does not tell its picture's size or format (lost headers?); check the file.")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise BadInput(
            f"{what} claims frames of {width}x{height}; up to {MAX_SIDE} a side and {MAX_PIXELS} pixels are taken."
        )
    dump = header_dump(container)
    colour = _colour(film, chroma_location(dump, film))
    return Picture(width, height, pix_fmt, colour, sample_aspect(film), "Display Matrix" in dump)


def sample_aspect(film: VideoStream) -> tuple[int, int]:
    """Return the pixel aspect ratio, (0, 1) when it is unspecified or absurd."""
    sar = film.sample_aspect_ratio or Fraction(0)
    if sar.numerator > 1 << 15 or sar.denominator > 1 << 15:
        return 0, 1
    return sar.numerator, sar.denominator


def _colour(film: VideoStream, chroma: int) -> Colour:
    context = film.codec_context
    look = pixel_class(context.pix_fmt or "")
    space, spread = int(context.colorspace), int(context.color_range)
    matrix = _MATRIX.get(space) or ("bt601" if context.height < 720 else "bt709")
    if look.rgb:
        matrix = "rgb"
    elif look.grey:
        matrix = "grey"
    elif matrix == "rgb":
        matrix = "bt601" if context.height < 720 else "bt709"
    full = spread == 2 or (context.pix_fmt or "").startswith("yuvj") or (spread == 0 and (look.rgb or look.grey))
    return Colour(
        matrix=matrix,  # type: ignore[arg-type]
        full=full,
        space=space,
        range=spread,
        primaries=int(context.color_primaries),
        transfer=int(context.color_trc),
        chroma_location=chroma,
    )


_CHROMA = {"left": 1, "center": 2, "topleft": 3, "top": 4, "bottomleft": 5, "bottom": 6}


def chroma_location(dump: str, film: VideoStream) -> int:
    """Return the chroma location as FFmpeg's number; 0 when it is unspecified."""
    line = re.search(rf"Stream #0:{film.index}\b.*: Video: .*", dump)
    for words in re.findall(r"\(([^()]*)\)", line.group(0)) if line else ():
        for word in words.split(","):
            if word.strip() in _CHROMA:
                return _CHROMA[word.strip()]
    return 0


def frame_transfer(container: InputContainer, film: VideoStream) -> int:
    """Return the transfer function that the first frame itself names (FFmpeg's AVCOL_TRC_*), 2 where there is no frame."""
    try:
        for packet in container.demux(film):
            for frame in film.codec_context.decode(packet if packet.size else None):
                return int(frame.color_trc)
    except av.error.FFmpegError:
        return UNTAGGED
    return UNTAGGED


def turned_by(degrees: float) -> Matrix:
    """Return the display matrix of a rotation (counterclockwise, as FFmpeg's av_display_rotation_get returns it)."""
    turn = math.radians(-degrees)
    cosine, sine = round(math.cos(turn) * 65536), round(math.sin(turn) * 65536)
    return cosine, sine, 0, -sine, cosine, 0, 0, 0, 1 << 30


def display_matrix(container: InputContainer, film: VideoStream) -> Matrix | None:
    """Return the film's display matrix (rotation, mirroring) in FFmpeg's layout, if it has one. Decodes up to one frame."""
    try:
        for packet in container.demux(film):
            for frame in film.codec_context.decode(packet if packet.size else None):
                try:
                    side = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
                except ValueError:  # beside it there is side data that PyAV does not know, such as EXIF
                    return turned_by(frame.rotation)
                if side is None:
                    return None
                a, b, c, d, e, f, g, h, i = struct.unpack("<9i", bytes(side)[:36])
                return (a, b, c, d, e, f, g, h, i)
    except av.error.FFmpegError:
        return None
    return None
