"""Job ids: the same submission is the same job, under every version of the spec."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import fields, replace

from contract.documents import decode
from contract.job import Job, Spec
from contract.job_ids import job_id

_OLD = sorted((Path(__file__).parents[1] / "fixtures" / "before_rooms" / "objects" / "jobs").glob("*/job.json"))


@pytest.mark.parametrize("path", _OLD, ids=lambda path: path.parent.name)
def test_an_older_submission_keeps_its_id(path: Path) -> None:
    """A job.json of an older version, read and identified again, has the id that it was stored under."""
    job = decode(path.read_bytes(), Job, "job.json")
    assert job_id(job.spec, job.items) == job.id == path.parent.name


def test_every_option_is_part_of_the_id() -> None:
    """A spec that differs in any field, those of later versions included, is another job."""
    spec = Spec("identity")
    other = {
        "model": "lanczos", "scale": 3.0, "denoise": 0.5, "face": {}, "weights": ("a",), "precision": "fp32", "tile": 64,
        "codec": "ffv1", "crf": 1.0, "preset": "slow", "pix_fmt": "gray", "container": "mkv", "faststart": True,
        "image_format": "png", "alpha": "bicubic", "deinterlace": "off", "chunk_frames": 7, "hdr": True, "strict": True,
        "witness": "off", "salvage": 50, "video_stream": 0, "program": 1,
        "on_unheld": "drop", "white": 2.0, "steady": 1.0, "deflicker": True, "stabilise": True, "scratches": True, "piece": {},
        "grain": 0.5, "dirt": True, "masks": True,
    }  # fmt: skip
    assert other.keys() == {field.name for field in fields(Spec)}
    ids = {job_id(replace(spec, **{name: value}), ()) for name, value in other.items()}
    assert len(ids | {job_id(spec, ())}) == len(other) + 1
