"""Description of a material, and the usual recipes for its film."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import av

from contract.job import Codec
from testkit.materials.draw import frame
from testkit.materials.write import Film, Sound, write


@dataclass(frozen=True)
class Material:
    """One source. `suffix` is of its file; `target` of the result that it is restored to."""

    name: str
    suffix: str
    make: Callable[[], bytes]
    target: str = "mkv"
    expect: str = "exact"
    says: str = ""
    """A pattern that one of the notes must match."""

    @property
    def codec(self) -> Codec:
        """Return the codec of the result: FFV1 in every container that takes it."""
        if self.target == "mkv":
            return "ffv1"
        return "prores" if self.name == "prores" else "x264"


def x264(keyint: int = 12, **more: object) -> dict[str, str]:
    """Return options of libx264, with `more` of x264's own."""
    words: dict[str, object] = {
        "keyint": keyint,
        "min-keyint": min(4, keyint),
        "bframes": 3,
        "scenecut": 0,
        "threads": 1,
    }
    words |= {"mbtree": 0, **more}  # with it x264 gives other bytes each time for pictures so small
    return {"x264-params": ":".join(f"{k}={v}" for k, v in words.items())}


def x265(keyint: int = 12, **more: object) -> dict[str, str]:
    """Return options of libx265, with `more` of x265's own."""
    words = {"keyint": keyint, "min-keyint": min(4, keyint), "log-level": "none", "pools": "none", **more}
    return {"x265-params": ":".join(f"{k.replace('_', '-')}={v}" for k, v in words.items()), "preset": "veryfast"}


H264 = Film("mp4", "libx264", x264())
STEREO = (Sound("aac"),)


def film(base: Film = H264, **changes: object) -> Callable[[], bytes]:
    """Return a function that makes `base` with `changes`."""
    return lambda: write(replace(base, **changes))  # type: ignore[arg-type]


def jpeg() -> bytes:
    """Make a small JPEG still."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 64, "yuvj420p", Fraction(1, 25)
    image = frame(64, 64, 3, "yuvj420p")
    image.pts = 0
    return bytes((encoder.encode(image) + encoder.encode(None))[0])
