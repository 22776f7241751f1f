"""Materials whose sound changes its rate or channels, or begins, in the middle."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from testkit.materials.joined import appended, joined_flv
from testkit.materials.recipe import H264, Material
from testkit.materials.write import Film, Sound, write

SECOND = 25
"""Frames of a second."""


def spliced_ts(first: Sound, second: Sound) -> bytes:
    """Make a transport stream of two seconds whose second half has other sound, on one clock."""
    base = replace(H264, format="mpegts", frames=SECOND, time_base=Fraction(1, SECOND))
    parts = [
        replace(base, times=range(25, 25 + SECOND), sounds=(replace(first, start=1.0),)),
        replace(base, times=range(50, 50 + SECOND), sounds=(replace(second, start=2.1),), seed=2),
    ]
    return appended([write(part) for part in parts], "mpegts")


def spliced_flv(first: Sound, second: Sound) -> bytes:
    """Two FLV files joined, each with sound of its own."""
    base = Film("flv", "libx264", H264.options, frames=SECOND)
    return joined_flv(write(replace(base, sounds=(first,))), write(replace(base, sounds=(second,), seed=2)))


STEREO, SURROUND = Sound("aac"), Sound("aac", layout="5.1")
CHANGING_SOUND: tuple[Material, ...] = (
    Material("aac-turns-5.1-ts", "ts", lambda: spliced_ts(STEREO, SURROUND), "ts"),
    Material("aac-turns-5.1-to-mkv", "ts", lambda: spliced_ts(STEREO, SURROUND), expect="refused"),
    Material("aac-turns-5.1-to-mp4", "ts", lambda: spliced_ts(STEREO, SURROUND), "mp4", expect="refused"),
    Material("aac-changes-rate-flv-to-mp4", "flv", lambda: spliced_flv(STEREO, Sound("aac", rate=22050)), "mp4"),
    Material("aac-changes-rate-flv", "flv", lambda: spliced_flv(STEREO, Sound("aac", rate=22050)), expect="refused"),
    Material("mp2-changes-rate", "ts", lambda: spliced_ts(Sound("mp2"), Sound("mp2", rate=44100))),
    Material("ac3-turns-5.1", "ts", lambda: spliced_ts(Sound("ac3"), Sound("ac3", layout="5.1"))),
)
