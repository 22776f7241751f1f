"""Time code in H.264 and HEVC messages, written bit by bit after the standards."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import av
import pytest

from contract.job import Item, Spec
from media.clock_stamps import ClockStamps
from orchestrator.ingest.film import plan_film
from testkit.materials.joined import patched
from testkit.materials.recipe import H264, x264, x265
from testkit.materials.write import Film, write

STRUCTURED = replace(H264, options=x264(**{"pic-struct": 1}))
BUFFERED = replace(
    H264, options=x264(**{"pic-struct": 1, "nal-hrd": "vbr", "vbv-maxrate": 2000, "vbv-bufsize": 2000, "bitrate": 500})
)
HEVC = Film("mp4", "libx265", x265())


def bits(*fields: tuple[int, int]) -> bytes:
    """Join (value, width) fields to bytes, with the bit that ends a message."""
    text = "".join(f"{value:0{width}b}" for value, width in fields) + "1"
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def clock(seconds: int, frames: int, frame_bits: int, drop: bool = False) -> tuple[tuple[int, int], ...]:
    """List the fields of a full timestamp of 10 hours, 59 minutes."""
    return ((0, 1), (4 if drop else 0, 5), (1, 1), (0, 2), (frames, frame_bits), (seconds, 6), (59, 6), (10, 5))


def h264_payload(seconds: int, frames: int, delays: int = 0, drop: bool = False) -> bytes:
    return bits(*((0, delays),) * bool(delays), (0, 4), (1, 1), (0, 2), *clock(seconds, frames, 8, drop), (0, 24))


def hevc_payload(seconds: int, frames: int) -> bytes:
    return bits((1, 2), (1, 1), *clock(seconds, frames, 9), (0, 5))


def extradata(film: Film) -> bytes:
    with av.open(io.BytesIO(write(film)), "r") as container:
        return container.streams.video[0].codec_context.extradata or b""


@pytest.mark.parametrize("drop", [False, True])
def test_picture_timing_without_buffers(drop: bool) -> None:
    """The parameter set of x264 without a buffer description: no delays come before the structure."""
    reader = ClockStamps("h264", extradata(STRUCTURED))
    assert str(reader.read(h264_payload(58, 12, drop=drop))) == f"10:59:58{';' if drop else ':'}12"


def test_picture_timing_behind_delays() -> None:
    """With a buffer description, two delays come first, of the widths that it names."""
    data = extradata(BUFFERED)
    reader = ClockStamps("h264", data)
    widths = sum(reader._timing.delays)
    assert widths > 2
    assert str(reader.read(h264_payload(58, 12, widths))) == "10:59:58:12"


def test_a_film_without_structure_has_no_time_code() -> None:
    """A parameter set that announces no structure: nothing of a message can be read."""
    assert ClockStamps("h264", extradata(H264)).read(h264_payload(58, 12)) is None
    assert ClockStamps("h264", b"").read(h264_payload(58, 12)) is None


def test_a_timestamp_may_leave_out_what_did_not_change() -> None:
    """Without full_timestamp_flag, hours and minutes are those of the one before."""
    reader = ClockStamps("hevc", b"")
    assert str(reader.read(hevc_payload(30, 3))) == "10:59:30:03"
    part = bits((1, 2), (1, 1), (0, 1), (0, 5), (0, 1), (0, 2), (4, 9), (1, 1), (31, 6), (0, 1), (0, 5))
    assert str(reader.read(part)) == "10:59:31:04"


def test_impossible_times_are_none() -> None:
    """63 seconds."""
    assert ClockStamps("hevc", b"").read(hevc_payload(63, 3)) is None


@pytest.mark.parametrize("film", [STRUCTURED, HEVC], ids=["h264", "hevc"])
def test_breaks_of_time_code_are_on_the_index(film: Film, tmp_path: Path) -> None:
    """Time code in every picture of a film without B-frames, with a jump at frame 24: both runs are marks of the index."""
    hevc = film.codec == "libx265"
    options = x265(bframes=0) if hevc else x264(bframes=0, **{"pic-struct": 1})

    def change(number: int, data: bytes) -> tuple[bytes, dict[str, bytes]]:
        at = number if number < 24 else number + 250
        seconds, frames = divmod(at, 25)
        payload = hevc_payload(seconds, frames) if hevc else h264_payload(seconds, frames)
        nal = (b"\x4e\1" if hevc else b"\6") + bytes((136 if hevc else 1, len(payload))) + payload + b"\x80"
        nal = nal.replace(b"\0\0\1", b"\0\0\3\1").replace(b"\0\0\0", b"\0\0\3\0")
        return len(nal).to_bytes(4, "big") + nal + data, {}

    path = tmp_path / "film.mp4"
    path.write_bytes(patched(write(replace(film, options=options)), "mp4", change))
    with path.open("rb") as file:
        index = plan_film(
            file, Item(0, "video", path.name, "r.mkv", "0" * 64, 1), Spec(model="identity", codec="ffv1"), 1
        )
    assert [(m.first, m.value) for m in index.time_marks] == [(0, "10:59:00:00"), (24, "10:59:10:24")]
    assert any("carry time code" in note for note in index.notes)
