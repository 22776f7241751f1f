"""Times of sound beside the film, on the clocks of containers."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import pytest

from contract.film import MAX_TIMESCALE
from contract.job import Spec
from media.container_clock import FINE, movie_timescale
from testkit.materials.in_process import restore
from testkit.materials.write import Film, Sound, write


def _first_sound(data: bytes) -> tuple[Fraction, Fraction]:
    """Return the time of the first packet of sound, and of its clock's tick, in seconds."""
    with av.open(io.BytesIO(data)) as container:
        packet = next(p for p in container.demux(container.streams.audio[0]) if p.pts is not None)
        return packet.pts * packet.time_base, packet.time_base


@pytest.mark.parametrize("target", ["mp4", "mov"])
@pytest.mark.parametrize(("codec", "rate"), [("ac3", 44100), ("ac3", 48000), ("pcm_s16le", 8000), ("aac", 22050)])
def test_late_sound_begins_on_its_sample(codec: str, rate: int, target: str, tmp_path: Path) -> None:
    """A delay is kept to the tick of the sound's own clock, though FFmpeg's muxer counts delays in milliseconds."""
    source = tmp_path / "film.nut"
    source.write_bytes(write(Film("nut", "mpeg4", {"g": "12"}, sounds=(Sound(codec, rate=rate, start=0.1337),))))
    done = restore(source, f"result.{target}", Spec(model="identity", codec="x264", chunk_frames=16), tmp_path)
    (before, _), (after, tick) = _first_sound(source.read_bytes()), _first_sound(done.data)
    assert abs(after - before) <= tick / 2


@pytest.mark.parametrize(
    ("clocks", "scale"), [((25, 44100), 44100), ((90000, 44100), 4410000), ((30000, 48000), 240000)]
)
def test_edit_lists_count_whole_ticks_of_every_clock(clocks: tuple[int, ...], scale: int) -> None:
    """The clock of a movie is the smallest on which the times of all late tracks are whole."""
    assert movie_timescale(clocks) == scale


@pytest.mark.parametrize("film", [90001, MAX_TIMESCALE])
def test_clocks_that_do_not_fit_are_rounded_finely(film: int) -> None:
    """Clocks without a common one of 31 bits: half a tick of the movie is less than half a sample."""
    found = movie_timescale((film, 44100, 192000))
    assert FINE.denominator <= found <= MAX_TIMESCALE
    assert found >= 2 * 192000
