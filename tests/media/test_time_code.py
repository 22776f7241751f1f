"""Time code: counting with and without drop frame, and where it breaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.time_code import TimeCode, runs, stamp_of


@given(st.integers(0, 24 * 3600 * 24 - 1), st.sampled_from([24, 25, 30, 50, 60]))
def test_numbers_and_codes_agree(number: int, rate: int) -> None:
    """Every frame of a day has one code, and the code gives its number back."""
    assert TimeCode.of_number(number, rate, drop=False).number(rate) == number


@given(st.integers(0, 2_589_407), st.sampled_from([30, 60]))
def test_drop_frame_codes_agree(number: int, rate: int) -> None:
    """Drop frame skips codes, not frames (SMPTE ST 12-1)."""
    code = TimeCode.of_number(number, rate, drop=True)
    assert code.number(rate) == number
    assert code.minutes % 10 == 0 or code.seconds or code.frames >= rate // 15


def test_an_hour_of_drop_frame_is_an_hour() -> None:
    """After 107,892 frames of 29.97 a second the code says one hour."""
    assert str(TimeCode.of_number(107_892, 30, drop=True)) == "01:00:00;00"


@pytest.mark.parametrize(("rate", "fps"), [(25, 25.0), (30, 30000 / 1001), (24, 24000 / 1001)])
def test_breaks_are_found(rate: int, fps: float) -> None:
    """Code that runs on gives one run, and a jump gives another from its frame on."""
    first, second = TimeCode(1, 0, 0, 0).number(rate), TimeCode(10, 0, 0, 0).number(rate)
    codes = [(n, n / fps, TimeCode.of_number(first + n, rate, drop=False)) for n in range(0, 7500, 12)]
    codes += [(n, n / fps, TimeCode.of_number(second + n - 7500, rate, drop=False)) for n in range(7500, 9000, 12)]
    assert [(r.first, str(r.code)) for r in runs(codes)] == [(0, "01:00:00:00"), (7500, "10:00:00:00")]


def test_code_that_stands_still_tells_nothing() -> None:
    """Encoders write 00:00:00:00 into every group of pictures; that is no break at each."""
    assert not runs([(n, n / 25, TimeCode(0, 0, 0, 0)) for n in range(0, 300, 12)])


@pytest.mark.parametrize(
    ("year", "recorded"), [(0x99, 1999), (0x05, 2005), (0x90, 1990), (0x70, None), (0x80, None), (0xFF, None)]
)
def test_a_camera_s_year_has_two_digits(year: int, recorded: int | None) -> None:
    """Years before 1990 mean that the clock was not set; the others fall between 1990 and 2069."""
    block = bytearray(80 * 3)
    block[80] = 0x20
    for place, pack in ((86, bytes((0x62, 0xFF, 0x04, 0x05, year))), (94, bytes((0x63, 0, 0, 0, 0)))):
        block[place : place + 5] = pack
    stamp = stamp_of("dvvideo", bytes(block) + bytes(240))
    found = stamp.recorded.year if stamp and stamp.recorded else None
    assert found == recorded
