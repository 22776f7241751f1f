"""AC-3 and E-AC-3 in mp4 and mov, whose muxer reads each frame and refuses some when a film is all but done."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from contract.errors import Unsupported
from contract.job import Spec
from media.dolby_frames import DolbyFrames, kind_of
from testkit.materials.check import compare
from testkit.materials.in_process import Restored, restore
from testkit.materials.write import Film, Sound, write


def _film(codec: str, form: str = "nut") -> bytes:
    return write(Film(form, "mpeg4", {"g": "12"}, sounds=(Sound(codec),)))


def _changed(data: bytes, form: str, change: Callable[[int, bytes], bytes]) -> bytes:
    """Return the film with each packet of its sound as `change` makes it of the packet's number and bytes."""
    sink = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(sink, "w", format=form) as container:
        streams = {s.index: container.add_stream_from_template(s, opaque=True) for s in source.streams}
        number = 0
        for packet in source.demux():
            if packet.size and packet.stream_index == 1:
                packet.update(change(number, bytes(packet)))
                number += 1
            if packet.size:
                packet.stream = streams[packet.stream_index]
                container.mux(packet)
    return sink.getvalue()


def _with_noise(data: bytes, form: str, number: int) -> bytes:
    """Return the film with packet `number` of its sound made of bytes that are no frame."""
    return _changed(data, form, lambda n, packet: b"\x55" * len(packet) if n == number else packet)


def _restored(data: bytes, form: str, target: str, folder: Path, **more: object) -> Restored:
    source = folder / f"film.{form}"
    source.write_bytes(data)
    return restore(source, f"result.{target}", Spec(model="identity", codec="x264", chunk_frames=16, **more), folder)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["mp4", "mov", "mkv", "ts"])
@pytest.mark.parametrize("codec", ["ac3", "eac3"])
def test_results_name_what_the_frames_are(codec: str, target: str, tmp_path: Path) -> None:
    """NUT calls E-AC-3 AC-3; every result calls it by its own name, and a note says so."""
    data = _film(codec)
    done = _restored(data, "nut", target, tmp_path)
    assert not compare(data, done.data, lossless=False, codec="x264").problems
    with av.open(io.BytesIO(done.data)) as container:
        sound = container.streams.audio[0]
        assert (sound.codec_context.name, sound.codec_context.rate, sound.codec_context.channels) == (codec, 48000, 2)
    assert any("is E-AC-3, and its container calls it AC-3" in note for note in done.notes) == (codec == "eac3")


@pytest.mark.parametrize("target", ["mp4", "mov"])
@pytest.mark.parametrize("number", [0, 10])
@pytest.mark.parametrize("codec", ["ac3", "eac3"])
def test_packets_that_are_no_frames_are_refused_before_work(
    codec: str, number: int, target: str, tmp_path: Path
) -> None:
    """One packet without a valid header is known at planning, and the container that the sentence names holds all."""
    data = _with_noise(_film(codec, "matroska"), "matroska", number)
    with pytest.raises(
        Unsupported, match=rf"1 of whose packets have no valid header, which {target} cannot hold; name the result .mkv"
    ):
        _restored(data, "mkv", target, tmp_path)
    done = _restored(data, "mkv", "mkv", tmp_path)
    assert not compare(data, done.data, lossless=False, codec="x264").problems


def test_packets_that_are_no_frames_can_be_left_to_a_decoder(tmp_path: Path) -> None:
    """--on-unheld convert decodes what can be decoded."""
    data = _with_noise(_film("ac3", "matroska"), "matroska", 10)
    done = _restored(data, "mkv", "mp4", tmp_path, on_unheld="convert")
    assert any("is converted to flac" in note for note in done.notes)


def test_a_muxer_s_objection_to_packets_is_known_before_work(tmp_path: Path) -> None:
    """AC-3 of half the rate (RealMedia's, bitstream 9) is refused by mp4's muxer when it closes the file: it is tried first."""
    half = _changed(_film("ac3"), "nut", lambda _, packet: packet[:5] + bytes((9 << 3 | packet[5] & 7,)) + packet[6:])
    with pytest.raises(Unsupported, match=r"mp4 cannot hold the streams of film.nut .*; name the result \.\w+"):
        _restored(half, "nut", "mp4", tmp_path)
    done = _restored(half, "nut", "mkv", tmp_path)
    assert not compare(half, done.data, lossless=False, codec="x264").problems


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ("0b77f1a5 1e40 77", "ac3"),
        ("0b77f1a5 de40 77", ""),  # no sampling rate
        ("0b77f1a5 2640 77", ""),  # no frame size
        ("0b7701ff 3f87 ff", "eac3"),
        ("0b77c1ff 3f87 ff", ""),  # a reserved kind of substream
        ("0b7701ff ff87 ff", ""),  # no sampling rate
        ("0b7701ff 3f8f ff", ""),  # a later bitstream
        ("0b78f1a5 1e40 77", ""),
        ("0b77f1a5", ""),
    ],
)
def test_headers_are_told_apart(head: str, kind: str) -> None:
    """A frame is named by its bitstream id, and reserved values make it none."""
    assert kind_of(bytes.fromhex(head)) == kind


def test_most_frames_name_a_stream() -> None:
    """A damaged header in between changes no name, and is counted."""
    frames = DolbyFrames()
    for head in ("0b7701ff3f87ff", "0b77f1a51e4077", "0b7701ff3f87ff", "00000000000000"):
        frames.see(bytes.fromhex(head))
    assert (frames.codec, frames.broken) == ("eac3", 1)
