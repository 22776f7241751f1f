"""Streams that a result cannot hold: refused with a way past, converted without loss, put beside it, or left out."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

from contract.errors import Unsupported
from contract.job import Codec, Spec
from media.opening import open_media
from media.plain_decode import Look, read_file
from testkit.materials.catalog import by_name
from testkit.materials.in_process import Restored, restore
from testkit.materials.recipe import H264
from testkit.materials.write import Film, Sound, text_stream, write

AVI = Film("avi", "mpeg4", {"g": "12"})
SOURCES = {
    "wma": (Film("asf", "msmpeg4", {"g": "12"}, sounds=(Sound("wmav2"),)), "wmv"),
    "adpcm": (replace(AVI, sounds=(Sound("adpcm_ima_wav"),)), "avi"),
    "dvd-lpcm": (Film("vob", "mpeg2video", {"g": "12", "bf": "0", "b": "2M"}, sounds=(Sound("pcm_dvd"),)), "vob"),
    "a-law": (replace(AVI, sounds=(Sound("pcm_alaw", rate=8000),)), "avi"),
}


def _restored(name: str, fate: str, folder: Path, codec: Codec = "ffv1", target: str = "mkv") -> tuple[bytes, Restored]:
    film, suffix = SOURCES[name]
    source = folder / f"film.{suffix}"
    source.write_bytes(write(film))
    spec = Spec(model="identity", codec=codec, chunk_frames=16, container=target, on_unheld=fate)  # type: ignore[arg-type]
    return source.read_bytes(), restore(source, f"result.{target}", spec, folder)


def _samples(data: bytes) -> np.ndarray:  # type: ignore[type-arg]
    """All samples of the first sound as 64-bit floats, channels by samples."""
    with av.open(io.BytesIO(data)) as container:
        sound = container.streams.audio[0]
        resampler = av.AudioResampler(
            format="dblp", layout=sound.codec_context.layout, rate=sound.codec_context.sample_rate
        )
        frames = [f for frame in container.decode(sound) for f in resampler.resample(frame)]
        return np.concatenate([f.to_ndarray() for f in frames], axis=1)


@pytest.mark.parametrize("name", ["wma", "adpcm", "dvd-lpcm"])
def test_what_nothing_holds_is_refused_with_a_way_past(name: str, tmp_path: Path) -> None:
    """The advice names an option, and the option works."""
    with pytest.raises(Unsupported, match="--on-unheld convert or sidecar or drop"):
        _restored(name, "refuse", tmp_path)


@pytest.mark.parametrize(("codec", "target"), [("ffv1", "mkv"), ("x264", "mp4"), ("x264", "mov")])
@pytest.mark.parametrize("name", ["wma", "adpcm", "dvd-lpcm"])
def test_converted_sound_is_the_decoded_sound(name: str, codec: Codec, target: str, tmp_path: Path) -> None:
    """Converted sound has every sample of the source's, to 16 or 24 bits, and the film is untouched."""
    data, done = _restored(name, "convert", tmp_path, codec, target)
    with av.open(io.BytesIO(done.data)) as container:
        if (
            container.streams.audio[0].codec_context.name
            == {"wma": "wmav2", "adpcm": "adpcm_ima_wav", "dvd-lpcm": "pcm_dvd"}[name]
        ):
            assert target == "mov"  # which holds it as it is
            return
    before, after = _samples(data), _samples(done.data)
    assert before.shape == after.shape
    assert np.abs(np.clip(before, -1, 1) - after).max() <= (2**-22 if name == "wma" else 0)
    assert any("is converted to" in note for note in done.notes)
    assert sum(r.frames for r in done.results) == 48


@pytest.mark.parametrize("name", ["wma", "adpcm", "dvd-lpcm"])
def test_sound_beside_the_result_is_the_source_s(name: str, tmp_path: Path) -> None:
    """A file beside the result holds the sound as it was, and decodes to the same samples."""
    data, done = _restored(name, "sidecar", tmp_path)
    [(path, beside)] = done.sidecars.items()
    assert path.startswith("result.stream1.")
    assert np.array_equal(_samples(beside), _samples(data))
    with av.open(io.BytesIO(done.data)) as container:
        assert not container.streams.audio


@pytest.mark.parametrize(("name", "suffix"), [("aac-turns-5.1-to-mkv", "ts"), ("aac-changes-rate-flv", "mov")])
def test_sound_that_changes_is_beside_the_result_as_a_whole(name: str, suffix: str, tmp_path: Path) -> None:
    """The file beside the result is of a kind that keeps every configuration: it has as many samples as the source."""
    material = by_name(name)
    source = tmp_path / f"film.{material.suffix}"
    source.write_bytes(material.make())
    spec = Spec(model="identity", codec="ffv1", chunk_frames=16, container="mkv", on_unheld="sidecar")
    done = restore(source, "result.mkv", spec, tmp_path)
    [(path, beside)] = done.sidecars.items()
    assert path == f"result.stream1.{suffix}"
    with open_media(io.BytesIO(beside), path) as before, source.open("rb") as file, open_media(file, "film") as after:
        kept, whole = (max(s.samples for s in read_file(c, Look()).streams.values()) for c in (before, after))
    assert kept == whole > 0


@pytest.mark.parametrize("suffix", ["mov", "ts"])
def test_covers_go_only_where_they_arrive(suffix: str, tmp_path: Path) -> None:
    """A cover that a container leaves out without a word is refused by name, and `drop` is a way past."""
    source = tmp_path / "film.mp4"
    source.write_bytes(by_name("cover-first").make())
    spec = Spec(model="identity", codec="x264", container=suffix)
    with pytest.raises(
        Unsupported, match=r"a cover stream \(mjpeg\), which \w+ cannot hold; name the result .mkv, or pass"
    ):
        restore(source, f"result.{suffix}", spec, tmp_path)
    done = restore(source, f"result.{suffix}", msgspec.structs.replace(spec, on_unheld="drop"), tmp_path)
    assert any("is left out, as --on-unheld drop asks for" in note for note in done.notes)


def test_sound_is_left_out_when_asked_for(tmp_path: Path) -> None:
    """--on-unheld drop leaves the sound out, by name."""
    _, done = _restored("wma", "drop", tmp_path)
    assert any("is left out, as --on-unheld drop asks for" in note for note in done.notes)


def test_what_is_held_stays_as_it_is(tmp_path: Path) -> None:
    """The option concerns streams that the container cannot hold, and no other."""
    source = tmp_path / "film.mp4"
    source.write_bytes(write(replace(H264, sounds=(Sound("aac"),))))
    spec = Spec(model="identity", codec="ffv1", on_unheld="convert")
    done = restore(source, "result.mkv", spec, tmp_path)
    with av.open(io.BytesIO(done.data)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"


SCC = """Scenarist_SCC V1.0

00:00:00;12\t9420 94ae c8e5 ecec 942f

00:00:01;06\t9420 94ae ef80 942f

00:00:01;20\t942c 942c
"""


def test_a_caption_track_beside_the_result_is_a_scenarist_file_too(tmp_path: Path) -> None:
    """A track of CEA-608 in mov that mkv cannot hold: the track alone, and its pairs at their times."""
    source = tmp_path / "film.mov"
    source.write_bytes(write(replace(H264, format="mov", extra=(text_stream(SCC, "scc"),))))
    spec = Spec(model="identity", codec="ffv1", container="mkv", on_unheld="sidecar")
    done = restore(source, "result.mkv", spec, tmp_path)
    assert set(done.sidecars) == {"result.stream1.mov", "result.stream1.scc"}
    lines = done.sidecars["result.stream1.scc"].decode().splitlines()
    # FFmpeg's muxer gives the last caption no duration, and its demuxer hides it.
    assert [line for line in lines if line] == [line for line in SCC.splitlines() if line][:-1]
    assert any("field 1 as .stream1.scc" in note for note in done.notes)
