"""Before/after pairs: an image and its result, or frames of a film and the same moments of its result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av.error
import pyvips

from contract.errors import BadInput, VerifyError
from media.images.header import read_pages
from media.images.pixels import open_pixels
from media.opening import open_media, reason
from media.piece import Window
from orchestrator.ingest.film_choice import choose_film, pictures_of, stream_of
from orchestrator.ingest.images import is_image

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from contract.piece import Piece
    from orchestrator.result_record import FilmWanted

SIDE = 8192
"""Pixels. Sheets and pages show nothing larger; a larger picture is shown as a window from its middle."""

BACK = Fraction(10)
"""Seconds before a moment from which it is decoded where a seek ended behind the key frame before it, as in transport streams."""


@dataclass(frozen=True)
class Pair:
    """The same picture before and after, both 8-bit sRGB without alpha; `label` names the file and the moment."""

    label: str
    before: pyvips.Image
    after: pyvips.Image


def pairs(
    before: Path,
    after: Path,
    count: int,
    label: str = "",
    piece: Piece | None = None,
    wanted: FilmWanted | None = None,
) -> Iterator[Pair]:
    """Yield pairs of a source and its result: one of an image, up to `count` of a film, evenly spread over its time.

    `piece` is the part of a film that the result is of; None for all of it. `wanted` is the stream that the job was told to restore.

    Raises:
        BadInput: a file cannot be read, or does not tell which of the result's streams is the film.
        UsageError: the source has no such stream.
        VerifyError: one is a film and the other is not.
    """
    if is_image(before) != is_image(after):
        raise VerifyError(f"{before.name} and {after.name} are not of one kind; name a source and its result.")
    label = label or before.name
    if is_image(before):
        yield Pair(label, picture(before), picture(after))
        return
    own, other = _streams(before, after, wanted)
    moments, skipped, start = _moments(before, own, count, piece)
    shown = [moment - skipped for moment in moments]
    old_frames = _frames(before, own, moments, start if piece is not None and piece.first else None)
    for moment, old, new in zip(moments, old_frames, _frames(after, other, shown), strict=True):
        yield Pair(f"{label} at {float(moment):.2f} s", old, new)


def pairs_at(
    before: Path,
    after: Path,
    positions: list[int],
    frames: int,
    piece: Piece | None = None,
    wanted: FilmWanted | None = None,
) -> Iterator[Pair]:
    """Yield the pairs of a film at `positions` (ascending) among its `frames` frames, labelled with their moments.

    None are yielded where the source has another number of times than frames, so that no other frame is shown for one.
    `piece`, `wanted` and errors are as in `pairs`.
    """
    own, other = _streams(before, after, wanted)
    times, skipped, start = _times(before, own, piece)
    if len(times) != frames:
        return
    moments = [times[position] - start for position in positions]
    old_frames = _frames(before, own, moments, start if piece is not None and piece.first else None)
    shown = [moment - skipped for moment in moments]
    for moment, old, new in zip(moments, old_frames, _frames(after, other, shown), strict=True):
        yield Pair(f"{float(moment):.2f} s", old, new)


def picture(path: Path) -> pyvips.Image:
    """Open the first page of an image for display: 8-bit sRGB, upright, on white."""
    pages, _ = read_pages(path, path.name)
    image = open_pixels(path, pages[0].picture, path.name, "none", page=pages[0].index)
    return displayed(image.copy_memory() if image.width * image.height <= SIDE * SIDE else image)


def displayed(image: pyvips.Image) -> pyvips.Image:
    """Convert a grey or RGB picture to 8-bit sRGB without alpha; floats have white at 1."""
    if image.format == "float":
        image = (image * 255).cast("uchar")
    elif image.format == "ushort":
        image = (image >> 8).cast("uchar")
    bands = image.bands
    image = image.copy(interpretation="srgb" if bands >= 3 else "b-w")
    if bands in (2, 4):
        image = image.flatten(background=255)
    # As black and white, three bands would be grey with alpha to libvips.
    return image if image.bands == 3 else image.bandjoin([image, image]).copy(interpretation="srgb")


def _streams(before: Path, after: Path, wanted: FilmWanted | None) -> tuple[int, int]:
    """Return the film's stream in a source and in its result, which carries other video streams over in the source's order."""
    with before.open("rb") as stream, open_media(stream, before.name) as container:
        film = choose_film(container, wanted, before.name).stream.index
        own = [one.index for one in pictures_of(container)]
    with after.open("rb") as stream, open_media(stream, after.name) as container:
        largest = choose_film(container, None, after.name).stream.index
        found = [one.index for one in pictures_of(container)]
    if len(found) == 1:
        return film, found[0]
    if len(found) == len(own):
        return film, found[own.index(film)]
    if wanted is not None and (wanted.video_stream, wanted.program) != (None, None):
        raise BadInput(
            f"{after.name} has {len(found)} video streams and its source {len(own)}, so that the one made from stream {film} is not known; "
            "look at it in a player."
        )
    return film, largest


def _moments(path: Path, number: int, count: int, piece: Piece | None) -> tuple[list[Fraction], Fraction, Fraction]:
    """Return the times of up to `count` different frames, evenly spread, a piece's beginning, and the first packet's time, which both count from."""
    own, skipped, start = _times(path, number, piece)
    chosen = sorted({(2 * n + 1) * len(own) // (2 * count) for n in range(count)})
    return [own[n] - start for n in chosen if n < len(own)], skipped, start


def _times(path: Path, number: int, piece: Piece | None) -> tuple[list[Fraction], Fraction, Fraction]:
    """Return the times of a film's frames, or a piece's, where the piece begins after the first packet, and the first packet's time."""
    with path.open("rb") as stream, open_media(stream, path.name) as container:
        film = stream_of(container, number)
        packets = (p for p in container.demux(film) if p.size and not p.is_discard)
        times = sorted({p.pts * p.time_base for p in packets if p.pts is not None})
    if not times:
        raise BadInput(f"{path.name} holds no picture; check the file with `respool probe`.")
    window = Window(None, None) if piece is None else Window(*piece.window)
    own = [time for time in times if window.covers(Fraction(time))]
    skipped = Fraction(0) if window.start is None else window.start - times[0]
    return [Fraction(time) for time in own], Fraction(skipped), Fraction(times[0])


def _frames(path: Path, number: int, moments: list[Fraction], start: Fraction | None = None) -> Iterator[pyvips.Image]:
    """Yield the frames shown at `moments` (ascending), each decoded from the key frame before it.

    Moments count from `start`, without it from the first frame that the decoder gives.
    """
    with path.open("rb") as stream, open_media(stream, path.name) as container:
        film = stream_of(container, number)
        film.thread_type = "AUTO"
        for moment in moments:
            try:
                frame, start = _frame_at(container, film, moment, start)
            except av.error.FFmpegError as error:
                raise BadInput(
                    f"{path.name} cannot be decoded ({reason(error)}); check it with `respool probe`."
                ) from error
            if frame is None:
                raise BadInput(f"{path.name} ends before {float(moment):.2f} s; its source does not.")
            rgb = frame.to_ndarray(format="rgb24")
            image = pyvips.Image.new_from_memory(rgb.tobytes(), rgb.shape[1], rgb.shape[0], 3, "uchar")
            yield image.copy(interpretation="srgb")


def _frame_at(
    container: InputContainer, film: VideoStream, moment: Fraction, start: Fraction | None
) -> tuple[VideoFrame | None, Fraction | None]:
    """Return the frame nearest to `moment`, and the film's start, which is found with its first frame (moment 0 or later)."""
    base = film.time_base or Fraction(1, 1000)
    if start is None:
        first = next(container.decode(film), None)
        if first is None or first.pts is None:
            return None, None
        start = first.pts * base
    time = start + moment
    best: VideoFrame | None = None
    for place in (time, max(start, time - BACK), start):
        container.seek(int(place / base), stream=film)
        best, early = _nearest(container, film, time)
        if early:
            break
    return best, start


def _nearest(container: InputContainer, film: VideoStream, time: Fraction) -> tuple[VideoFrame | None, bool]:
    """Return the frame nearest to `time`, from the demuxer's place to the first one at or after it, and whether there was one not after it."""
    base = film.time_base or Fraction(1, 1000)
    best: VideoFrame | None = None
    early = False
    for frame in container.decode(film):
        if frame.pts is None:
            continue
        early = early or frame.pts * base <= time
        away = abs(frame.pts * base - time)
        if best is None or best.pts is None or away < abs(best.pts * base - time):
            best = frame
        if frame.pts * base >= time:
            break
    return best, early
