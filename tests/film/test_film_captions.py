"""Captions and time code travel: in the result's pictures where its codec takes them, and in files beside it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import av
import pytest

from contract.job import Codec, Spec
from contract.settings import Settings
from testkit.materials.catalog import by_name
from testkit.materials.in_process import Restored, restore
from testkit.materials.messages import ALWAYS, MPEG2, SELDOM, captioned
from testkit.materials.recipe import H264, x265
from testkit.materials.write import Film
from workers.generators.registry import load

SOURCES = {"h264": H264, "hevc": Film("mp4", "libx265", x265()), "mpeg2": MPEG2}


def _restored(
    data: bytes, codec: Codec, target: str, folder: Path, model: str = "identity", form: str = "mp4"
) -> Restored:
    source = folder / f"film.{form}"
    source.write_bytes(data)
    spec = Spec(model=model, scale=None if model == "identity" else 1, codec=codec, chunk_frames=10)
    enhancer = None if model == "identity" else load(spec, {}, Settings(device="cpu"))
    return restore(source, f"result.{target}", spec, folder, enhancer)


def _captions(data: bytes) -> list[bytes]:
    with av.open(io.BytesIO(data)) as container:
        return [
            next((bytes(side) for side in frame.side_data if side.type.name == "A53_CC"), b"")
            for frame in container.decode(video=0)
        ]


@pytest.mark.parametrize("where", [SELDOM, ALWAYS], ids=["seldom", "always"])
@pytest.mark.parametrize(
    ("codec", "target", "model"), [("x264", "mp4", "identity"), ("x265", "mkv", "identity"), ("x264", "ts", "lanczos")]
)
@pytest.mark.parametrize("source", SOURCES)
def test_captions_stay_on_their_frames(
    source: str, codec: Codec, target: str, model: str, where, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    """Every frame of a result that is H.264 or HEVC carries what its source's frame carries, cut anywhere, by any model."""
    base = SOURCES[source]
    data = captioned(base, where)
    done = _restored(data, codec, target, tmp_path, model, base.format)
    assert any(_captions(data))
    assert _captions(done.data) == _captions(data)


def test_captions_that_pictures_cannot_carry_are_beside_the_result(tmp_path: Path) -> None:
    """FFV1 takes no captions: CEA-608 is in a Scenarist file, at its times, and a note tells so."""
    done = _restored(captioned(MPEG2, SELDOM), "ffv1", "mkv", tmp_path, form="ts")
    lines = done.sidecars["result.scc"].decode().splitlines()
    assert lines[0] == "Scenarist_SCC V1.0"
    assert [line for line in lines if "\t" in line] == ["00:00:00;12\t9420 94ae c8e5 ecec", "00:00:01;06\tef80 942f"]
    assert "captions of 3 frames are beside the result (.scc) only" in done.notes


def test_time_code_and_recording_dates_are_beside_the_result(tmp_path: Path) -> None:
    """Breaks of time code and the dates of recordings are in a file, with the frames from which they run."""
    tracks = json.loads(
        _restored(by_name("time-code-in-two-parts").make(), "ffv1", "mkv", tmp_path, form="mov").sidecars[
            "result.timecode.json"
        ]
    )
    assert [(m["frame"], m["time_code"]) for m in tracks["marks"]] == [(0, "01:00:00:00"), (25, "10:00:00:00")]
    tape = json.loads(
        _restored(by_name("dv-joined").make(), "ffv1", "mkv", tmp_path, form="dv").sidecars["result.timecode.json"]
    )
    assert [m["recorded"] for m in tape["marks"] if "recorded" in m] == ["1999-05-04T10:00:00", "2001-08-09T17:30:00"]


def test_films_without_either_have_no_files_beside_them(tmp_path: Path) -> None:
    """Nothing is written for a film that carries nothing."""
    assert not _restored(by_name("h264-closed-gop").make(), "ffv1", "mkv", tmp_path).sidecars
