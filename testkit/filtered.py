"""Films through filters over time: frames of arrays, and whole restorations in chunks of several sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import msgspec
import numpy as np
import numpy.typing as npt

from contract.film import Colour
from contract.job import Spec
from testkit.clips import fingerprint
from testkit.materials.in_process import Restored, restore

if TYPE_CHECKING:
    from workers.film.time_filters import FrameFilter

Pixels = npt.NDArray[np.uint8]

COLOUR = Colour("bt601", False)


def frames(pictures: Iterable[Pixels], pix_fmt: str = "yuv444p") -> Iterator[tuple[int, av.VideoFrame]]:
    """Yield RGB pictures as frames of a film of BT.601."""
    for n, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
        yield n, frame.reformat(format=pix_fmt, dst_colorspace="ITU601", dst_color_range="MPEG")


def pixels(made: Iterable[tuple[int, av.VideoFrame]]) -> list[Pixels]:
    """Return frames as RGB pictures."""
    return [np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8) for _, frame in made]


def filtered(one: FrameFilter, pictures: Iterable[Pixels], pix_fmt: str = "yuv444p") -> list[Pixels]:
    """Return pictures after a filter, as RGB."""
    return pixels(one.filtered(frames(pictures, pix_fmt)))


def unfiltered(pictures: Iterable[Pixels], pix_fmt: str = "yuv444p") -> list[Pixels]:
    """Return pictures that only became frames and pictures again."""
    return pixels(frames(pictures, pix_fmt))


def write_film(path: Path, pictures: list[Pixels], pix_fmt: str = "yuv420p", interlaced: bool = False) -> Path:
    """Write pictures as H.264 of little loss, with B-frames and a key every seven frames."""
    options = {"crf": "12", "g": "7", "bf": "2"} | ({"flags": "+ildct"} if interlaced else {})
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        for n, frame in frames(pictures, pix_fmt):
            frame.pts, frame.time_base = n, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def in_chunks(film: Path, spec: Spec, size: int, folder: Path) -> tuple[Restored, list[str]]:
    """Restore a film in chunks of `size` frames; return the restoration and the hash of each frame of the result."""
    folder.mkdir()
    done = restore(film, "film.mkv", msgspec.structs.replace(spec, chunk_frames=size), folder)
    path = folder / "out.mkv"
    path.write_bytes(done.data)
    return done, [picture for _, picture in fingerprint(path)]
