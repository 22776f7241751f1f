"""Expected working time: what commits tell, what manifests keep, and what a new job makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import msgspec
import pytest

from contract import keys
from contract.documents import encode, raw
from contract.errors import StorageError
from contract.job import Done, Face, Item, Job, Manifest, Output, Spec
from contract.job_ids import job_id
from contract.settings import Settings
from orchestrator.cli.expected import expected_time, time_line
from orchestrator.job_store import Records
from orchestrator.past_pace import RECORD, Work, past_work, way_of, work_done, working_seconds
from stores.storage import Storage

FILM, IMAGE = "film: RealESRGAN_x4plus at 2x in x264", "image: RealESRGAN_x4plus at 2x"


def mixed_job() -> Job:
    """A film and an image, enlarged twice by a generator of four."""
    spec = Spec("RealESRGAN_x4plus", scale=2.0)
    items = (
        Item(0, "video", "a.mp4", "a.mp4", "0" * 64, 9),
        Item(1, "image", "b.png", "b.png", "1" * 64, 9, pixels=250_000),
    )
    return Job(job_id(spec, items), spec, items, "2026-01-01T00:00:00+00:00")


def commit(chunk: int, item: int, frames: int, size: tuple[int, int], seconds: dict[str, float] | None) -> Done:
    """A commit of one object."""
    output = Output(item, f"k{chunk}", "2" * 64, 5, frames, *size)
    record = {} if seconds is None else {"seconds": raw(seconds), "device": raw("cpu")}
    return Done(chunk, "1-00000000", "w", frames, (output,), record=record)


def test_work_is_counted_in_pixels_of_sources() -> None:
    """Frames of 1000x500 were 500x250; the chunk that loaded the network does not count, nor does a commit without seconds."""
    commits = [
        commit(0, 0, 8, (1000, 500), {"load": 3.0, "whole": 5.0}),
        commit(1, 0, 8, (1000, 500), {"load": 0.0, "whole": 4.0}),
        commit(2, 1, 1, (1000, 1000), {"load": 0.0, "whole": 1.5}),
        commit(3, 0, 8, (1000, 500), None),
    ]
    assert work_done(mixed_job(), 4, commits) == [Work(FILM, "cpu", 1.0, 4.0), Work(IMAGE, "cpu", 0.25, 1.5)]


def test_first_chunks_count_where_there_are_no_others() -> None:
    """A job of one chunk for each worker tells its pace all the same, without the loading."""
    commits = [commit(n, 0, 8, (1000, 500), {"load": 3.0, "whole": 5.0}) for n in range(2)]
    assert work_done(mixed_job(), 4, commits) == [Work(FILM, "cpu", 2.0, 4.0)]


@pytest.mark.parametrize("record", [{"seconds": raw("long")}, {"seconds": raw({"whole": 4}), "device": raw(7)}])
def test_a_record_of_another_form_is_left_out(record: dict[str, msgspec.Raw]) -> None:
    """A record decides nothing: a worker that writes another one keeps no job from its end."""
    odd = msgspec.structs.replace(commit(1, 0, 8, (1000, 500), None), record=record)
    plain = commit(0, 0, 8, (1000, 500), {"load": 3.0, "whole": 5.0})
    assert work_done(mixed_job(), 4, [odd, plain]) == [Work(FILM, "cpu", 1.0, 2.0)]


def test_the_name_of_the_hardware_goes_before_its_number() -> None:
    """A worker's "cuda:0" may be another GPU than the next one's; the name tells the pace."""
    done = commit(0, 0, 8, (1000, 500), {"load": 3.0, "whole": 5.0})
    named = msgspec.structs.replace(done, record={**done.record, "hardware": raw("NVIDIA H200")})
    assert [work.device for work in work_done(mixed_job(), 4, [named])] == ["NVIDIA H200"]


def test_a_way_names_what_the_time_depends_on() -> None:
    """Model, scale, faces, and for films the encoder; a scale that is the generator's own is the same way as none."""
    assert way_of("video", Spec("lanczos", scale=4.0), 4) == way_of("video", Spec("lanczos"), 4)
    assert way_of("image", Spec("lanczos", codec="x265"), 4) == way_of("image", Spec("lanczos"), 4)
    specs = [Spec("lanczos"), Spec("lanczos", codec="x265"), Spec("lanczos", preset="slow"), Spec("identity")]
    specs += [Spec("lanczos", scale=1.5), Spec("lanczos", face=Face()), Spec("lanczos", steady=1.0)]
    specs += [Spec("lanczos", deflicker=True), Spec("lanczos", stabilise=True), Spec("lanczos", scratches=True)]
    specs += [Spec("lanczos", grain=1.0), Spec("lanczos", dirt=True)]
    assert len({way_of("video", spec, 4) for spec in specs}) == len(specs)


def test_the_store_tells_of_ended_jobs(settings: Settings) -> None:
    """Work of several manifests is read; one of an older version, one that is broken and a job that runs tell none."""
    storage = Storage(settings)
    storage.ensure_bucket()
    work = [Work(FILM, "cpu", 2.0, 6.0)]
    documents = [
        encode(Manifest("0" * 16, "done", (), record={RECORD: raw(work)})),
        encode(Manifest("1" * 16, "failed", (), record={RECORD: raw([*work, *work])})),
        encode(Manifest("2" * 16, "done", ())),
        encode(Manifest("3" * 16, "done", (), record={RECORD: raw("nothing of ours")})),
        b"{}",
    ]
    for n, data in enumerate(documents):
        storage.put(keys.manifest(str(n) * 16), data)
    storage.put(keys.job_spec("9" * 16), encode(mixed_job()))
    assert past_work(Records(storage)) == work * 3


def test_time_is_a_range_where_jobs_differ() -> None:
    """Each way has its slowest and fastest job; short jobs count only where no longer one tells."""
    past = [
        Work(FILM, "cpu", 10.0, 60.0),
        Work(FILM, "cpu", 10.0, 80.0),
        Work(FILM, "cpu", 0.1, 4.0),
        Work(IMAGE, "cpu", 0.1, 1.0),
        Work("film: lanczos at 2x in x264", "cpu", 1.0, 9.0),
    ]
    assert working_seconds(past, [(FILM, 100.0)]) == (600.0, 800.0, 2)
    low, high, told = working_seconds(past, [(FILM, 100.0), (IMAGE, 5.0)]) or (0, 0, 0)
    assert (low, high, told) == (pytest.approx(650), pytest.approx(850), 3)
    assert working_seconds(past, [(FILM, 100.0), ("image: identity at 1x", 1.0)]) is None


def test_the_sentence_fits_a_terminal() -> None:
    """A range for the workers that are there, one figure where it is one, and how to learn it where no job tells."""
    past = [Work(FILM, "cpu", 1.0, 6.0), Work(FILM, "cpu", 1.0, 7.5)]
    said = time_line(past, [(FILM, 600.0)], 1)
    assert said == "time: about 1:00:00 to 1:15:00 for one worker (2 past jobs), plus reading and checks"
    assert time_line(past[:1], [(FILM, 600.0)], 4).startswith("time: about 15:00 for 4 workers (1 past job)")
    assert "unknown until a small job with these options has ended here" in time_line([], [(FILM, 600.0)], 1)


@pytest.mark.parametrize(("megapixels", "seconds"), [(1e-300, 1e12), (1.0, 1e300), (-1.0, 5.0), (1.0, -5.0)])
def test_a_pace_that_nothing_has_is_not_taken(settings: Settings, megapixels: float, seconds: float) -> None:
    """A manifest from a stranger cannot make the time endless, negative, or end the command."""
    records = Records(Storage(settings))
    records.storage.ensure_bucket()
    job = mixed_job()
    record = {RECORD: raw([Work("film: a stranger's", "cpu", megapixels, seconds)])}
    manifest = Manifest(job.id, "done", (), (), finished="2026-01-01T00:00:00+00:00", record=record)
    records.storage.put(keys.job_spec(job.id), encode(job))
    records.storage.put(keys.manifest(job.id), encode(manifest))
    assert working_seconds(past_work(records), [("film: a stranger's", 2.0)]) is None


def test_a_store_without_a_bucket_has_no_past(settings: Settings) -> None:
    """A cluster that has just started has no bucket yet: the time is unknown, and the command goes on."""
    fresh = replace(settings, s3_bucket=f"fresh-{uuid4().hex[:8]}")
    assert expected_time([(FILM, 2.0)], fresh, None) == time_line([], [(FILM, 2.0)], 1)


def test_an_estimate_ends_no_command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says that the store failed while past jobs were listed."""

    def fails(_: Records) -> Iterator[str]:
        raise StorageError("S3 answered 503.")

    monkeypatch.setattr(Records, "jobs", fails)
    assert expected_time([(FILM, 2.0)], settings, None) == "time: unknown: S3 answered 503."
