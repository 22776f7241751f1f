"""Sample frames of a source and their contact sheet. No torch: a preview's restoring is a job like any other."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame

from contract.errors import BadInput
from contract.piece import Bounds
from media.opening import open_media, reason
from orchestrator.comparison.before_after import Pair, picture
from orchestrator.comparison.contact_sheet import write_sheet
from orchestrator.ingest.images import is_image
from orchestrator.ingest.piece import find_piece
from orchestrator.ingest.probe import film_stream


def pick(source: Path, count: int, folder: Path, bounds: Bounds | None = None) -> list[Path]:
    """Write up to `count` frames of a film, evenly spread over its time, as PNG into `folder`; return their paths in order.

    With `bounds` they are of that piece. For an image, return its own path. Raises BadInput when nothing can be decoded.
    """
    if is_image(source):
        if bounds is not None:
            raise BadInput(f"{source.name} is an image, and {bounds.words} asks for a piece of a film; leave it out.")
        return [source]
    paths = []
    piece = [] if bounds is None else _piece(source, bounds)
    with source.open("rb") as stream, open_media(stream, source.name) as container:
        film = film_stream(container, source.name)
        film.thread_type = "AUTO"
        start, length = film.start_time or 0, _length(container, film)
        targets = [start + int(length * (2 * n + 1) / (2 * count)) for n in range(count)]
        if piece:
            targets = [piece[n] for n in sorted({(2 * n + 1) * len(piece) // (2 * count) for n in range(count)})]
        for n, target in enumerate(targets):
            frame = _frame_at(container, film, target)
            if frame is None:
                continue
            path = folder / f"{source.stem}-{n:02}.png"
            path.write_bytes(_png(frame))
            paths.append(path)
    if not paths:
        raise BadInput(f"{source.name} holds no picture; check the file with `respool probe`.")
    return paths


def _png(frame: VideoFrame) -> bytes:
    """Encode a frame as a PNG that says nothing but its pixels: a density, which libvips writes, would change with the scale and be noted."""
    rgb = VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), format="rgb24")
    codec = av.VideoCodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = rgb.width, rgb.height, "rgb24", Fraction(1)
    codec.sample_aspect_ratio = Fraction(1)  # or 0:1 is written, which is none
    rgb.pts = 0
    return b"".join(bytes(packet) for packet in (*codec.encode(rgb), *codec.encode(None)))


def _piece(source: Path, bounds: Bounds) -> list[int]:
    """Return the times of a piece's frames, in the time base of the film."""
    with source.open("rb") as stream, open_media(stream, source.name) as container:
        film = film_stream(container, source.name)
        times = sorted({p.pts for p in container.demux(film) if p.pts is not None and p.size and not p.is_discard})
    if not times:
        raise BadInput(f"the packets of {source.name} carry no times, by which {bounds.words} is found; leave it out.")
    pts = np.array(times, dtype=np.int64)
    piece, _ = find_piece(bounds, pts, film.time_base or Fraction(1, 1000), source.name)
    own = pts if piece is None else pts[piece.first : piece.first + piece.frames]
    return [int(time) for time in own]


def _length(container: Any, film: Any) -> int:
    """Return the film's length in its own time base from the first header that states it; 0 when none does."""
    if film.duration:
        return int(film.duration)
    if container.duration:
        return int(container.duration / av.time_base / film.time_base)
    return 0


def _frame_at(container: Any, film: Any, target: int) -> VideoFrame | None:
    """Return the first frame shown at `target` or after, else the last one that can be decoded."""
    last = None
    try:
        container.seek(target, stream=film)
        for frame in container.decode(film):
            last = frame
            if frame.pts is None or frame.pts >= target:
                break
    except av.error.EOFError:
        pass
    except av.error.FFmpegError as error:
        raise BadInput(f"the film cannot be decoded ({reason(error)}); check it with `respool probe`.") from error
    return last


def sheet(before_after: Sequence[tuple[Path, Path]], out: Path) -> None:
    """Write a PNG that shows each (before, after) pair: nearest, Lanczos and enhanced, and the detail that changed most."""
    write_sheet([Pair(before.stem, picture(before), picture(after)) for before, after in before_after], out)
