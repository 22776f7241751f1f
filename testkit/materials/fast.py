"""Materials whose frames follow each other faster than the clocks of some containers count."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from testkit.materials.recipe import H264, STEREO, Material, film
from testkit.materials.write import Sound

CAMERA = replace(H264, format="mov", rate=Fraction(5000), muxer={"movie_timescale": "5000"})

FAST: tuple[Material, ...] = (
    Material("high-speed-5000", "mov", film(CAMERA), says="ticks of 0.0001 s"),
    Material("high-speed-5000-to-mp4", "mov", film(CAMERA), "mp4"),
    Material("high-speed-5000-to-ts", "mov", film(CAMERA), "ts"),
    Material(
        "high-speed-with-sound",
        "mov",
        film(replace(CAMERA, rate=Fraction(1200), frames=240, sounds=(Sound("pcm_s16le", length=0.2),))),
    ),
    Material(
        "frames-nearly-at-once",
        "mp4",
        film(times=[600 * n - 590 * (n % 2) for n in range(48)], time_base=Fraction(1, 24000), sounds=STEREO),
    ),
    Material(
        "rate-beyond-ts",
        "mov",
        film(replace(CAMERA, rate=Fraction(200_000), muxer={"movie_timescale": "200000"})),
        "ts",
        expect="refused",
        says="tell apart",
    ),
)
