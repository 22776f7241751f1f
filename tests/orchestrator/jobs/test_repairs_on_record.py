"""Repairs over time of films in real jobs: their sum is on record, and the report shows the largest before and after."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import pyvips
from msgspec.structs import replace

from contract import keys
from contract.documents import raw
from contract.errors import BadInput
from contract.job import Done
from contract.time_filters import TIME_FILTERS
from orchestrator.comparison.before_after import pairs, pairs_at
from orchestrator.film_repairs import APART, LARGEST, POINTS, UNITS, repairs_of, words
from orchestrator.jobs.job_record import Trail
from orchestrator.result_record import from_lines
from testkit.film_damage import CLIPS, Amounts, damage
from testkit.filtered import write_film
from testkit.stepped import SPEC, Stepped


def test_the_report_has_a_section_of_repairs(cluster: Stepped, tmp_path: Path) -> None:
    """Totals over chunks, a course, and a figure of the largest repair of each filter; films without filters have none."""
    clip = damage(CLIPS["pan"](24, 64, 96), Amounts(flicker=0.05, offset=2.0, scratches=2), seed=5)
    film = write_film(tmp_path / "film.mkv", clip.damaged)
    job = cluster.submit([film], replace(SPEC, deflicker=True, scratches=True, chunk_frames=10))
    assert cluster.finish(job).state == "done"
    (record,) = from_lines(cluster.storage.get(keys.records(job)))
    assert [(one.filter, one.frames) for one in record.repairs] == [("deflicker", 24), ("scratches", 24)]
    assert len(record.chunks) > 1
    level, lines = record.repairs
    assert level.changed == sum(amount > 0 for amount in level.course) > 12
    assert level.largest[0].amount == max(level.course)
    assert lines.largest
    assert lines.largest[0].columns is not None
    page = Trail(cluster.settings).report(job, 2).decode()
    section = page.split("Repairs over time</h2>")[1].split("<h2")[0]
    assert section.count("<figure") == 2
    assert f"--scratches, frame {lines.largest[0].frame}: {lines.largest[0].amount:g} code values" in section
    assert f"{level.changed} of 24" in section
    assert section.count("<svg") == 2
    result = tmp_path / "out.mkv"
    Trail(cluster.settings).fetch_result(record, result)
    maps = [path.name for path in Trail(cluster.settings).change_map(record, result)]
    numbered = [f"out.mkv.change.{n}.png" for n in range(1, 5)]
    assert maps == [*numbered, "out.mkv.change.deflicker.png", "out.mkv.change.scratches.png"]
    other = cluster.submit([film], SPEC)
    cluster.finish(other)
    assert "Repairs over time" not in Trail(cluster.settings).report(other, 2).decode()


def test_pictures_of_another_stream_are_shown_where_it_was_restored(cluster: Stepped, tmp_path: Path) -> None:
    """With --video-stream, report and maps pair that stream with what became of it, not the largest of either file."""
    film, result = tmp_path / "film.mkv", tmp_path / "out.mkv"
    with av.open(str(film), "w") as out:
        streams = [out.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, (height, width) in zip(streams, ((96, 128), (48, 64)), strict=True):
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for n in range(8):
            for stream, level in zip(streams, (40, 200), strict=True):
                picture = np.full((stream.height, stream.width, 3), level + n, np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts, frame.time_base = n, Fraction(1, 25)
                out.mux(stream.encode(frame))
        for stream in streams:
            out.mux(stream.encode())
    job = cluster.submit([film], replace(SPEC, video_stream=1))
    assert cluster.finish(job).state == "done"
    (record,) = from_lines(cluster.storage.get(keys.records(job)))
    Trail(cluster.settings).fetch_result(record, result)
    for wanted, level in ((record.wanted, 200), (None, 40)):
        for pair in pairs(film, result, 2, wanted=wanted):
            assert level - 4 < pair.before.avg() < level + 12
            assert abs(pair.before.avg() - pair.after.avg()) < 3
    width = pyvips.Image.new_from_file(str(Trail(cluster.settings).change_map(record, result)[0])).width
    (pair, *_) = pairs(film, result, 1, wanted=record.wanted)
    assert width == pair.after.width < 128 * pair.after.width / pair.before.width
    single = write_film(tmp_path / "single.mkv", CLIPS["pan"](8, 48, 64))
    three = tmp_path / "three.mkv"
    assert next(pairs(film, single, 1, wanted=record.wanted)).after.width == 64
    with av.open(str(film)) as source, av.open(str(three), "w") as out:
        made = {(one.index, n): out.add_stream_from_template(one) for one in source.streams for n in range(2)}
        for packet in source.demux():
            if packet.size and packet.stream.index == 0:
                packet.stream = made[0, 0]
                out.mux(packet)
    with pytest.raises(BadInput, match=r"three\.mkv has 4 video streams and its source 2"):
        next(pairs(film, three, 1, wanted=record.wanted))


def test_largest_repairs_are_apart_and_the_course_is_bounded() -> None:
    """Neighbours of the largest are not named beside it, whatever chunk has them, and a long film has as many points as a short one."""
    shifts = [[0.0, 0.0] for _ in range(1000)]
    for at, right in ((400, 3.0), (401, 2.9), (700, 2.0), (10, 1.0), (990, 0.5)):
        shifts[at] = [right, 0.0]
    dones = [
        Done(n, "1-0", "w", 100, (), record={"film": raw({"stabilise": shifts[100 * n : 100 * n + 100]})}, first=100 * n)
        for n in range(10)
    ]  # fmt: skip
    (one,) = repairs_of(dones)
    assert [large.frame for large in one.largest] == [400, 700, 10]
    assert len(one.largest) == LARGEST
    assert APART > 401 - 400
    assert (one.frames, one.changed) == (1000, 5)
    assert len(one.course) <= POINTS
    assert max(one.course) == 3.0
    assert repairs_of([Done(0, "1-0", "w", 1, ())]) == []


def test_no_other_frame_is_shown_for_a_repair(tmp_path: Path) -> None:
    """A source with another number of times than frames gives no pictures."""
    film = write_film(tmp_path / "film.mkv", CLIPS["still"](6, 48, 64))
    assert len(list(pairs_at(film, film, [2, 4], 6))) == 2
    assert list(pairs_at(film, film, [2, 4], 7)) == []


def test_every_filter_is_summed_up() -> None:
    """The records of all filters that there are make totals, amounts with a unit, and places where they have one."""
    records = {
        "deflicker": [1.1, 0.0],
        "dirt": [2, 30, [[7, 5, 4, 6], [1, 1, 2, 2]]],
        "scratches": [[9, 2, -40.0], [30, 1, 12.0]],
        "stabilise": [3.0, 4.0],
        "grain": 2.5,
        "steady": 3.0,
    }
    assert set(records) == {one.name for one in TIME_FILTERS} == set(UNITS)
    done = Done(0, "1-0", "w", 1, (), record={"film": raw({name: [record] for name, record in records.items()})})
    found = {one.filter: one.largest[0] for one in repairs_of([done])}
    assert {name: large.amount for name, large in found.items()} == {
        "deflicker": 12.8, "dirt": 30.0, "scratches": 40.0, "stabilise": 5.0, "grain": 2.5, "steady": 3.0,
    }  # fmt: skip
    assert {name: large.columns for name, large in found.items() if large.columns} == {
        "dirt": (7, 4),
        "scratches": (9, 2),
    }
    assert all(UNITS[one.filter] in words(one, one.largest[0]) for one in repairs_of([done]))


@pytest.mark.parametrize(
    "film",
    ["long", {"deflicker": 7}, {"dirt": [[1]]}, {"dirt": [[1, 5, []]]}, {"scratches": ["a"]}, {"grain": [None]}],
    ids=str,
)
def test_a_record_of_another_form_keeps_no_film(film: object) -> None:
    """A worker's record decides nothing: its filter is left out, and the others are summed up."""
    odd = Done(0, "1-0", "w", 1, (), record={"film": raw(film)})
    sound = Done(1, "1-0", "w", 1, (), record={"film": raw({"steady": [2.0]})}, first=1)
    assert [one.filter for one in repairs_of([odd, sound])] == ["steady"]
