"""Packets as frames, the places where a film is cut, and the stored pieces: pure code, without a film."""

from __future__ import annotations

import io

import numpy as np
import pytest

from contract.errors import IntegrityError
from contract.film import UNPLACED, Colour, Encoding
from contract.packets import CORRUPT, DISCARD, KEY, MARKED, RunHeader, RunPacket, RunReader, write_run
from orchestrator.ingest.chunking import Keys, cut_positions, plan_chunks, split_by_bytes
from orchestrator.ingest.interlacing import is_soft_telecine
from orchestrator.ingest.lossless import mend_times
from orchestrator.ingest.packets import HIDDEN, NONE, SECOND_FIELD, PacketTable
from orchestrator.ingest.presentation_order import Disorder, find_order
from orchestrator.ingest.trial_decode import check_cuttable


def table(pts: list[int], dts: list[int] | None = None, flags: list[int] | None = None) -> PacketTable:
    columns = [
        np.array(column, dtype=np.int64)
        for column in (
            pts,
            dts or list(range(len(pts))),
            [1] * len(pts),
            [100] * len(pts),
            flags or [KEY] + [0] * (len(pts) - 1),
        )
    ]
    return PacketTable(columns[0], columns[1], columns[2], columns[3], columns[4], "")


def test_frames_are_placed_by_their_times() -> None:
    """Decode order I P B B becomes the order in which the pictures are shown."""
    order = find_order(table([0, 3, 1, 2]), reorder=True, step=1)
    assert order.positions.tolist() == [0, 3, 1, 2]
    assert order.pts.tolist() == [0, 1, 2, 3]
    assert order.packet_of.tolist() == [0, 2, 3, 1]


def test_discarded_and_hidden_packets_give_no_frame() -> None:
    """Frames that an edit list cuts off or a codec hides take no position."""
    order = find_order(table([0, 1, 2, 3], flags=[KEY | DISCARD, 0, HIDDEN, 0]), reorder=False, step=1)
    assert order.positions.tolist() == [UNPLACED, 0, UNPLACED, 1]


def test_the_second_field_belongs_to_the_frame_of_the_first() -> None:
    """Two field packets are one frame, and the first of them names it."""
    order = find_order(table([0, 0, 2, 2], flags=[KEY, SECOND_FIELD, 0, SECOND_FIELD]), reorder=True, step=2)
    assert order.positions.tolist() == [0, 0, 1, 1]
    assert order.packet_of.tolist() == [0, 2]


def test_a_clock_that_falls_back_is_joined() -> None:
    """The second part goes on a step after the first one, by a shift that sound can be given too."""
    order = find_order(
        table([10, 11, 12, 0, 1], dts=[10, 11, 12, 0, 1], flags=[KEY, 0, 0, KEY, 0]), reorder=False, step=1
    )
    assert order.pts.tolist() == [10, 11, 12, 13, 14]
    assert [(s.start, s.shift) for s in order.segments] == [(0, 0), (3, 13)]


@pytest.mark.parametrize(
    ("pts", "reorder"), [([0, 1, 1, 2], True), ([0, NONE, NONE, 3], True)], ids=["equal times", "no times"]
)
def test_what_packets_cannot_tell_is_not_guessed(pts: list[int], reorder: bool) -> None:
    """Equal or missing times of a reordered film are left to a decoder."""
    with pytest.raises(Disorder):
        find_order(table(pts), reorder, step=1)


@pytest.mark.parametrize("codec", ["rpza", "h261", "flashsv2", "cinepak", "svq1"])
def test_codecs_whose_key_flags_lie_are_not_cut(codec: str) -> None:
    """Demuxers mark packets as keys that refer to others: such a film is decoded in sequence."""
    with pytest.raises(Disorder, match=codec):
        check_cuttable(codec)
    check_cuttable("h264")
    check_cuttable("prores")


def test_exact_cuts_take_a_key_that_is_near_and_cut_inside_a_group_otherwise() -> None:
    """Every position is owned once, whatever the groups."""
    keys = Keys(np.array([0, 12, 24]), np.array([0, 12, 24]))
    assert cut_positions(30, 11, keys, exact=True) == [0, 12, 24]
    assert cut_positions(30, 5, keys, exact=True)[:3] == [0, 5, 12]
    assert cut_positions(30, 1000, keys, exact=True) == [0]


def test_a_chunk_carries_what_its_frames_need() -> None:
    """A run starts a group early, and reaches to the last packet of the pictures that lead the next group."""
    positions = np.array([0, 1, 2, 5, 3, 4, 6, 7])  # 5 is a key that 3 and 4 lead
    keys = Keys(np.array([0, 3]), np.array([0, 5]))
    first, second = plan_chunks([0, 5], 8, positions, keys, context=0, intra=False)
    assert (first.first, first.count, first.start, first.stop) == (0, 5, 0, 6)
    assert (second.first, second.count, second.start, second.stop, second.preroll) == (5, 3, 0, 8, 3)


def test_heavy_chunks_are_split() -> None:
    """No run outgrows the memory that it is held in, and no frame is lost by it."""
    before = np.arange(0, 11) * (20 << 20)
    assert split_by_bytes([0, 5], 10, before) == [0, 1, 3, 5, 6, 8]


def test_repeat_flags_are_told_from_a_steady_rate() -> None:
    """By turns three fields and two are a telecine; one rate, or a rare long frame, is none."""
    assert is_soft_telecine([5630, 3753] * 30)
    assert not is_soft_telecine([3753] * 60)
    assert not is_soft_telecine([3753] * 58 + [5630] * 2)


def _run(packets: list[RunPacket]) -> bytes:
    colour = Colour(matrix="bt601", full=False)
    encoding = Encoding("ffv1", "ffv1", "yuv420p", 96, 64, (25, 1), {}, colour)
    header = RunHeader(0, 2, 2, "h264", b"\1", 96, 64, "yuv420p", colour, encoding)
    return b"".join(write_run(header, packets))


PACKETS = [RunPacket(0, KEY | MARKED, b"abc", (("palette", b"xy"),)), RunPacket(UNPLACED, CORRUPT | DISCARD, b"")]


def test_a_run_is_read_as_it_was_written() -> None:
    """Positions, flags, payloads and side data survive."""
    assert list(RunReader(io.BytesIO(_run(PACKETS)))) == PACKETS


def test_a_run_with_any_byte_changed_or_missing_is_refused() -> None:
    """A scrambled or cut-off run is never half-used."""
    data = _run(PACKETS)
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
        for broken in (changed, data[:at]):
            with pytest.raises(IntegrityError):
                list(RunReader(io.BytesIO(broken)))


@pytest.mark.parametrize(
    ("times", "mended", "made_up"),
    [
        ([0, 0, 80, 80, 160, 160], [0, 40, 80, 120, 160, 200], 3),
        ([0, 40, None, 120, 120, 200], [0, 40, 80, 120, 160, 200], 2),
        ([None, None, 80, 120], [0, 40, 80, 120], 2),
        ([0, 40, 80, 300, 160, 200, 240, 240], [0, 40, 80, 120, 160, 200, 240, 280], 2),
        ([0, 0, 0, 0], [0, 40, 80, 120], 3),
        ([0, 80, 40, 120], [0, 40, 80, 120], 0),
    ],
    ids=["twice", "missing", "late", "one far off", "still", "exchanged"],
)
def test_times_that_rise_stay_and_the_others_go_between(
    times: list[int | None], mended: list[int], made_up: int
) -> None:
    """Frames with a good time keep it, however many other times are wrong, so that nothing drifts."""
    pts, joins, count = mend_times(times, list(range(len(times))), 40)
    assert (pts.tolist(), joins, count) == (mended, (), made_up)


def test_mending_a_long_film_takes_a_moment() -> None:
    """It is done in one pass, whatever is wrong: 200,000 frames of which every other has a time that is taken."""
    pts, _, made_up = mend_times([i // 2 * 80 for i in range(200_000)], list(range(200_000)), 40)
    assert (pts[-1], made_up) == (199_999 * 40, 100_000)
