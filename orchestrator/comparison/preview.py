"""Sample frames of a source and their contact sheet. No torch: a preview's restoring is a job like any other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import pyvips
from av.video.frame import VideoFrame

from contract.errors import BadInput
from media.opening import open_media, reason
from orchestrator.comparison.before_after import Pair, picture
from orchestrator.comparison.contact_sheet import write_sheet
from orchestrator.ingest.images import is_image
from orchestrator.ingest.probe import film_stream


def pick(source: Path, count: int, folder: Path) -> list[Path]:
    """Write up to `count` frames of a film, evenly spread over its time, as PNG into `folder`; return their paths in order.

    For an image, return its own path. Raises BadInput when nothing can be decoded.
    """
    if is_image(source):
        return [source]
    paths = []
    with source.open("rb") as stream, open_media(stream, source.name) as container:
        film = film_stream(container, source.name)
        film.thread_type = "AUTO"
        start = film.start_time or 0
        length = _length(container, film)
        for n in range(count):
            target = start + int(length * (2 * n + 1) / (2 * count))
            frame = _frame_at(container, film, target)
            if frame is None:
                continue
            path = folder / f"{source.stem}-{n:02}.png"
            rgb = frame.to_ndarray(format="rgb24")
            pyvips.Image.new_from_memory(rgb.tobytes(), rgb.shape[1], rgb.shape[0], 3, "uchar").write_to_file(str(path))
            paths.append(path)
    if not paths:
        raise BadInput(f"{source.name} holds no picture; check the file with `respool probe`.")
    return paths


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
