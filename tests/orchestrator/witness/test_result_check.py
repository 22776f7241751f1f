"""The witness of results: films that are malformed on purpose are found, sound ones are not."""

from __future__ import annotations

import io
import re
from fractions import Fraction
from pathlib import Path
from typing import cast

import av.logging
import msgspec
import pytest
from av.container import InputContainer

from contract.errors import VerifyError
from contract.film import FilmIndex
from contract.job import Codec, Item, Spec
from media.opening import DecoderLog
from media.plain_decode import FileReading, Look, read_file
from orchestrator.witness import result_reading
from orchestrator.witness.delivery_check import Delivery, check_delivery
from orchestrator.witness.source_reading import read_source
from testkit.materials.catalog import by_name
from testkit.materials.damage import APPLY
from testkit.materials.in_process import Restored, restore
from testkit.materials.malformed import FAULTS, Fault, malformed
from testkit.materials.write import Film as Recipe
from testkit.materials.write import write

Film = tuple[bytes, Restored]


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """A film with two languages of sound and subtitles, chapters and an attachment, and its result."""
    folder = tmp_path_factory.mktemp("rich")
    material = by_name("everything-in-mkv")
    source = folder / "film.mkv"
    source.write_bytes(material.make())
    done = restore(source, "result.mkv", Spec(model="identity", codec="ffv1", chunk_frames=20), folder)
    return source.read_bytes(), done


def judge(film: Film, result: bytes, folder: Path, choice: str = "full") -> dict[str, object]:
    """Check `result` as assembly does."""
    source, done = film
    path = folder / "result"
    path.write_bytes(result)
    item = Item(0, "video", "film.mkv", "result.mkv", "0" * 64, len(source))
    sound = read_source(io.BytesIO(source), done.index, choice, "film.mkv", lambda: None).sound
    delivery = Delivery(path, done.index.frames)
    return check_delivery(delivery, done.index, io.BytesIO(source), item, choice, sound)  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_malformed_result_is_found(fault: Fault, rich: Film, tmp_path: Path) -> None:
    """Each fault alone fails the film, with a sentence that names it."""
    result = malformed(rich[1].data, "matroska", fault)
    with pytest.raises(VerifyError) as caught:
        judge(rich, result, tmp_path)
    assert re.search(fault.says, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.sampled], ids=lambda fault: fault.name)
def test_a_sample_finds_what_packets_tell(fault: Fault, rich: Film, tmp_path: Path) -> None:
    """Streams, counts, times and chapters are checked to the end of the file where only a part is decoded."""
    with pytest.raises(VerifyError):
        judge(rich, malformed(rich[1].data, "matroska", fault), tmp_path, "sample")


def test_the_same_packets_without_a_fault_pass(rich: Film, tmp_path: Path) -> None:
    """Muxing again is no fault by itself, and the record lists every stream with what was decoded of it."""
    record = judge(rich, malformed(rich[1].data, "matroska", Fault("none", "")), tmp_path)
    assert record["outcome"] == "sound"
    streams = cast("list[dict[str, object]]", record["streams"])
    assert [s["kind"] for s in streams] == ["video", "audio", "audio", "subtitle", "subtitle", "attachment"]
    assert (streams[0]["codec"], streams[0]["frames"]) == ("ffv1", 48)
    assert all(s["samples"] for s in streams[1:3])
    assert record["chapters"] == 2


def test_a_result_of_another_size_is_found(rich: Film, tmp_path: Path) -> None:
    """The frames of a result have the planned size, whatever its header says."""
    index: FilmIndex = rich[1].index
    wider = msgspec.structs.replace(index, encoding=msgspec.structs.replace(index.encoding, width=index.width * 2))
    with pytest.raises(VerifyError, match="frames are"):
        judge((rich[0], Restored(wider, b"", [], [])), rich[1].data, tmp_path)


HELD = (
    ("everything-in-mkv", "mp4", "x264"),  # chapters become a track of their own
    ("dv", "mov", "x264"),  # and so does time code
    ("h264-closed-gop", "ts", "x264"),
    ("vp8", "webm", "vp9"),
    ("cover-first", "mp4", "x265"),
    ("mov-with-edit-list", "mp4", "x264"),
    ("non-zero-start", "mkv", "x264"),
)


@pytest.mark.parametrize(("name", "suffix", "codec"), HELD, ids=lambda part: part)
def test_tracks_that_a_container_adds_are_no_fault(name: str, suffix: str, codec: Codec, tmp_path: Path) -> None:
    """Sound results pass in every container, with what it adds, rounds and moves."""
    material = by_name(name)
    source = tmp_path / f"film.{material.suffix}"
    source.write_bytes(material.make())
    spec = Spec(model="identity", codec=codec, chunk_frames=20, container=suffix, on_unheld="drop")
    assert restore(source, f"result.{suffix}", spec, tmp_path).witnessed["outcome"] == "sound"


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov", "ts"])
def test_slow_films_have_no_absurd_lengths(suffix: str, tmp_path: Path) -> None:
    """A picture every seven seconds, and gaps of minutes: the announced length is about the last packet's."""
    source = tmp_path / "film.mkv"
    source.write_bytes(
        write(
            Recipe("matroska", "mjpeg", pix_fmt="yuvj420p", times=(0, 7, 14, 200, 207), time_base=Fraction(1), frames=5)
        )
    )
    spec = Spec(model="identity", codec="x264", chunk_frames=2, container=suffix)
    assert restore(source, f"result.{suffix}", spec, tmp_path).witnessed["outcome"] == "sound"


def test_sound_that_only_a_reading_without_pictures_gives_is_sound(tmp_path: Path) -> None:
    """A demuxer that gives up at the pictures of a scrambled file gives all sound when it skips them, as copies do."""
    data = APPLY["scrambled"](by_name("fragmented-mp4").make(), 11)
    source = tmp_path / "film.mp4"
    source.write_bytes(data)
    spec = Spec(model="identity", codec="ffv1", chunk_frames=16)
    done = restore(source, "result.mkv", spec, tmp_path)
    assert done.witnessed["outcome"] == "sound"
    sound = read_source(io.BytesIO(data), done.index, "full", "film.mp4", lambda: None).sound
    streams = cast("list[dict[str, object]]", done.witnessed["streams"])
    assert [s["samples"] for s in streams if s["kind"] == "audio"] != [s.samples for s in sound]


def test_the_thread_that_reads_a_result_is_heard(rich: Film, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder of several threads may decode a part, and complain of it, in the reading thread: its collector hears that."""
    heard: list[str] = []

    def complaining(container: InputContainer, look: Look) -> FileReading:
        with DecoderLog("ffv1", threads=True) as log:
            av.logging.log(av.logging.ERROR, "ffv1", "slice CRC mismatch")
            heard.extend(log.take())
        return read_file(container, look)

    monkeypatch.setattr(result_reading, "read_file", complaining)
    result_reading.read_result(io.BytesIO(rich[1].data), "result.mkv")
    assert heard == ["slice CRC mismatch"]
