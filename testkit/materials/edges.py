"""Materials whose beginning or end is hidden: edit lists, and padding behind the last sample."""

from __future__ import annotations

from dataclasses import replace

from testkit.materials.recipe import H264, Material, film
from testkit.materials.write import Film, Sound, remux, write

WEBM = Film("webm", "libvpx", {"g": "12", "cpu-used": "8"}, sounds=(Sound("libopus", length=1.905),))


def hidden(codec: str, seconds: float = 0.7) -> bytes:
    """Make a mov whose edit list hides the first seconds of picture and sound."""
    data = write(replace(H264, format="mov", sounds=(Sound(codec),)))
    return remux(data, "mov", {"avoid_negative_ts": "disabled"}, {0: -seconds, 1: -seconds})


EDGES: tuple[Material, ...] = (
    Material("edit-list-hides-the-start", "mov", lambda: hidden("aac"), says="packets of stream 1 .* are left out"),
    Material(
        "edit-list-hides-the-start-pcm", "mov", lambda: hidden("pcm_s16le"), says="packets of stream 1 .* are left out"
    ),
    Material("edit-list-hides-the-start-to-mp4", "mov", lambda: hidden("aac"), "mp4", says="are left out"),
    Material("opus-padding", "webm", film(WEBM)),
    Material("opus-padding-to-mp4", "webm", film(WEBM), "mp4", says="408 samples of padding"),
)
