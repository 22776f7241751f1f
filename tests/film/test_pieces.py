"""Pieces of films: exactly their frames, everything else in time with them, and a note on whatever cannot be exact."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from contract.errors import BadInput, VerifyError
from contract.job import Spec
from orchestrator.comparison.before_after import pairs
from orchestrator.ingest.contents import within
from orchestrator.submission.piece_bounds import bounds
from testkit.materials import damage
from testkit.materials.catalog import MATERIALS, by_name
from testkit.materials.check import Picture, pictures, tracks
from testkit.materials.in_process import Restored, restore
from testkit.materials.messages import MPEG2, SELDOM, captioned, two_time_codes
from testkit.materials.recipe import H264, STEREO, film
from testkit.materials.write import Film, Sound, text_stream, write
from workers.film.decode import RunDecoder

SAMPLES = (
    "h264-open-gop",
    "hevc-open-gop",
    "h264-field-pictures",
    "h264-one-endless-gop",
    "variable-rate-mkv",
    "mjpeg",
)


def _restored(data: bytes, suffix: str, folder: Path, start: str | None, end: str | None, **more: object) -> Restored:
    source = folder / f"film.{suffix}"
    source.write_bytes(data)
    target = str(more.pop("target", "mkv"))
    options = {"codec": "ffv1" if target == "mkv" else "x264", "chunk_frames": 6, "deinterlace": "off", **more}
    spec = Spec(model="identity", piece=bounds(start, end), **options)  # type: ignore[arg-type]
    return restore(source, f"result.{target}", spec, folder)


def _wanted(data: bytes, start: Fraction, end: Fraction) -> tuple[list[Picture], Fraction]:
    """Return the source's frames in a piece, by their own times, and the time of the first."""
    found = list(pictures(data, None))
    first = min(p.time for p in found if p.time is not None)
    own = [p for p in found if p.time is not None and start <= p.time - first < end]
    assert own[0].time is not None
    return own, own[0].time


@pytest.mark.parametrize(("start", "end"), [("0.5", "1.1"), ("0", "0.3"), ("0.41", "99")])
@pytest.mark.parametrize("name", SAMPLES)
def test_a_piece_has_exactly_its_frames(name: str, start: str, end: str, tmp_path: Path) -> None:
    """Frames from the first at or after --from to the last before --to, each at its time from there on, in any codec."""
    material = by_name(name)
    data = material.make()
    done = _restored(data, material.suffix, tmp_path, start, end)
    own, begins = _wanted(data, Fraction(start), Fraction(end))
    made = list(pictures(done.data, None))
    assert [p.crc for p in made] == [p.crc for p in own]
    moved = begins if done.index.piece is not None and done.index.piece.first else Fraction(0)
    apart = [abs((a.time or 0) - ((b.time or 0) - moved)) for a, b in zip(made, own, strict=True)]
    assert max(apart) <= Fraction(1, 2000)
    assert done.witnessed["outcome"] == "sound"
    assert any(note.startswith("a piece of film.") for note in done.notes)


def test_frames_are_counted_from_nought(tmp_path: Path) -> None:
    """--from frame:7 --to frame:31 are 24 frames, and the piece says which."""
    data = by_name("h264-closed-gop").make()
    done = _restored(data, "mp4", tmp_path, "frame:7", "frame:31", target="mp4")
    assert done.index.piece is not None
    assert (done.index.piece.first, done.index.piece.frames, done.index.piece.of) == (7, 24, 48)
    assert len(list(pictures(done.data, None))) == 24
    assert any("frames 7 to 30 of 48, shown from 0:00:00.280 to 0:00:01.200" in note for note in done.notes)


def test_bounds_around_the_whole_film_change_nothing(tmp_path: Path) -> None:
    """The whole film by --from and --to has the bytes that it has without them."""
    data = by_name("h264-closed-gop").make()
    assert _restored(data, "mp4", tmp_path, "0", "99").data == _restored(data, "mp4", tmp_path, None, None).data


@pytest.mark.parametrize("target", ["mkv", "mp4", "mov", "ts"])
def test_sound_keeps_its_distance_from_the_picture(target: str, tmp_path: Path) -> None:
    """Each packet of sound that begins in the piece is there, unchanged, as far from the first picture as in the source."""
    sounds = (Sound("aac"), Sound("ac3", tone=220))
    data = write(replace(H264, sounds=sounds))
    done = _restored(data, "mp4", tmp_path, "0.5", "1.3", target=target)
    window = Fraction(13, 25), Fraction(33, 25)
    begun = min(p.time for p in pictures(done.data, None) if p.time is not None)
    for before, after in zip(tracks(data)[0], [t for t in tracks(done.data)[0] if t.kind == "audio"], strict=True):
        own = [
            (t, c)
            for t, c in zip(before.times, before.crcs, strict=True)
            if t is not None and window[0] <= t < window[1]
        ]
        assert after.crcs == [crc for _, crc in own]
        offsets = [t - begun - (s - window[0]) for t, (s, _) in zip(after.times, own, strict=True) if t is not None]
        assert max(abs(offset) for offset in offsets) <= Fraction(1, 1000 if target == "mkv" else 20_000)
    said = [note for note in done.notes if "copied in whole packets" in note]
    assert len(said) == 2
    assert "begins 0.0133 s after" in said[0]


def test_sound_is_exact_where_its_packets_are(tmp_path: Path) -> None:
    """PCM in mov is cut between any two samples' packets; the sample that is heard with the first picture is the source's."""
    data = write(replace(H264, format="mov", sounds=(Sound("pcm_s16le"),)))
    done = _restored(data, "mov", tmp_path, "0.4", None, target="mov")

    def heard(film: bytes, start: Fraction, count: int) -> bytes:
        with av.open(io.BytesIO(film)) as container:
            blocks = [
                (f.pts * f.time_base, f.to_ndarray().tobytes()) for f in container.decode(audio=0) if f.pts is not None
            ]
        at = {round(time * 48_000) + n: data[4 * n : 4 * n + 4] for time, data in blocks for n in range(len(data) // 4)}
        first = round(start * 48_000)
        return b"".join(at.get(first + n, b"") for n in range(count))

    mine = heard(done.data, Fraction(1, 20), 4800)
    assert len(mine) == 4 * 4800
    assert mine == heard(data, Fraction(9, 20), 4800)


def test_sound_that_begins_later_in_the_source_is_not_lost(tmp_path: Path) -> None:
    """A piece whose sound begins in it lacks none of it, and gets no note."""
    data = write(replace(H264, format="matroska", sounds=(Sound("aac", start=1.0, length=0.8),)))
    done = _restored(data, "mkv", tmp_path, "0.4", None)
    assert not any("sound of stream" in note for note in done.notes)


@pytest.mark.parametrize(("start", "end"), [(None, "0.4"), ("0.2", "0.4")])
def test_a_subtitle_after_the_piece_is_not_missed(start: str | None, end: str, tmp_path: Path) -> None:
    """A subtitle without a duration that is shown after the piece is not said to be shown when it begins."""

    def endless(container: av.container.OutputContainer) -> list[av.Packet[Any]]:
        packets = text_stream("1\n00:00:01,000 --> 00:00:01,500\nLate\n", "srt")(container)
        for packet in packets:
            packet.duration = 0
        return packets

    data = write(replace(H264, format="matroska", extra=(endless,)))
    done = _restored(data, "mkv", tmp_path, start, end)
    assert not any("how long it is shown" in note for note in done.notes)
    after = _restored(data, "mkv", tmp_path, "1.2", None)
    assert sum("how long it is shown" in note for note in after.notes) == 1


def test_subtitles_chapters_and_tags_are_cut_to_the_piece(tmp_path: Path) -> None:
    """A subtitle that is shown when the piece begins is there from 0 on; chapters are those of the piece."""
    done = _restored(by_name("everything-in-mkv").make(), "mkv", tmp_path, "0.52", "1.2")
    with av.open(io.BytesIO(done.data)) as container:
        subtitles = [s.index for s in container.streams if s.type == "subtitle"]
        shown: dict[int, list[tuple[int, int]]] = {number: [] for number in subtitles}
        for packet in container.demux():
            if packet.stream_index in shown and packet.size:
                shown[packet.stream_index].append((packet.pts or 0, packet.duration or 0))
        chapters = [(float(c["start"] * c["time_base"]), c["metadata"]["title"]) for c in container.chapters()]
        assert container.metadata["title"] == "A rich film"
    assert list(shown.values()) == [[(0, 380), (480, 200)], [(0, 380), (480, 200)]]
    assert chapters == [(0.0, "One"), (0.38, "Two")]


def test_a_chapter_outside_is_left_out(tmp_path: Path) -> None:
    """A piece in the second chapter has that one, from 0 on."""
    done = _restored(by_name("everything-in-mkv").make(), "mkv", tmp_path, "1", None)
    with av.open(io.BytesIO(done.data)) as container:
        assert [(c["start"], c["metadata"]["title"]) for c in container.chapters()] == [(0, "Two")]
    assert not any("chapters" in note for note in done.notes)


def test_time_code_runs_on(tmp_path: Path) -> None:
    """The tag and the marks beside the result are those of the piece's first frame."""
    done = _restored(two_time_codes(), "mov", tmp_path, "frame:10", "frame:40", target="mov", codec="prores")
    with av.open(io.BytesIO(done.data)) as container:
        assert container.streams.video[0].metadata["timecode"] == "01:00:00:10"
    marks = json.loads(done.sidecars["result.timecode.json"])["marks"]
    assert [(m["frame"], m["time_code"], m["seconds"]) for m in marks] == [
        (0, "01:00:00:10", 0.0),
        (15, "10:00:00:00", 0.6),
    ]


@pytest.mark.parametrize(("target", "codec"), [("mov", "prores"), ("mkv", "ffv1")])
def test_time_code_of_a_piece_after_a_break_is_that_of_its_part(target: str, codec: str, tmp_path: Path) -> None:
    """A piece that lies wholly behind a break of the track counts on from there."""
    done = _restored(two_time_codes(), "mov", tmp_path, "frame:30", "frame:40", target=target, codec=codec)
    with av.open(io.BytesIO(done.data)) as container:
        tags = {key.lower(): value for key, value in container.streams.video[0].metadata.items()}
    assert tags["timecode"] == "10:00:00:05"
    marks = json.loads(done.sidecars["result.timecode.json"])["marks"]
    assert [(m["frame"], m["time_code"]) for m in marks] == [(0, "10:00:00:05")]


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(24000, 1001), Fraction(25), Fraction(60)])
def test_time_code_counts_frames_of_the_exact_rate(rate: Fraction) -> None:
    """In the middle of a long part, film at 24 frames a second and at NTSC's 23.976 is counted without an error."""
    samples = ((0.0, 100), (float(90_000 / rate), 5))
    assert within(samples, np.arange(48_000, 48_010), 1 / rate) == ((float(48_000 / rate), 48_100),)


def test_captions_are_those_of_the_piece(tmp_path: Path) -> None:
    """Of captions in frames 10, 11 and 30, a piece from frame 11 on has two, at their new times."""
    done = _restored(captioned(MPEG2, SELDOM), "ts", tmp_path, "frame:11", None)
    assert done.index.captions == 2
    lines = [line for line in done.sidecars["result.scc"].decode().splitlines() if "\t" in line]
    assert lines == ["00:00:00;00\tc8e5 ecec", "00:00:00;23\tef80 942f"]


@pytest.mark.parametrize("form", ["mp4", "mkv"])
def test_covers_stay(form: str, tmp_path: Path) -> None:
    """A cover carries no time and is in every piece."""
    material = by_name("cover-first" if form == "mp4" else "cover-first-mkv")
    done = _restored(material.make(), form, tmp_path, "1", None, target=form)
    assert done.witnessed["outcome"] == "sound"
    with av.open(io.BytesIO(done.data)) as container:
        assert sum(bool(int(s.disposition) & 1 << 10) for s in container.streams) == 1


def test_damage_before_a_piece_that_reaches_into_it_is_said(tmp_path: Path) -> None:
    """A packet is broken some frames before the piece, in the same group: the piece's frames that build on it are damaged."""
    data = bytearray(
        write(replace(H264, format="matroska", options={"x264-params": "keyint=48:bframes=0:scenecut=0:threads=1"}))
    )
    with av.open(io.BytesIO(bytes(data))) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    at, size = packets[10]
    data[at + size // 2 : at + size] = bytes(size - size // 2)
    whole = _restored(bytes(data), "mkv", tmp_path, None, None)
    done = _restored(bytes(data), "mkv", tmp_path, "frame:14", "frame:30")
    before = {n for first, count, _ in whole.damage for n in range(first, first + count)}
    assert (
        {n for first, count, _ in done.damage for n in range(first, first + count)}
        == {n - 14 for n in before if 14 <= n < 30}
        != set()
    )


def test_damage_outside_of_a_piece_is_not_its_own(tmp_path: Path) -> None:
    """A file that breaks off after the piece gives it whole, without a word."""
    data = damage.truncated(write(replace(H264, format="matroska", sounds=STEREO)), 1)
    done = _restored(data, "mkv", tmp_path, "0.1", "0.5")
    assert not done.damage
    assert len(list(pictures(done.data, None))) == 10


def test_a_wrong_frame_of_a_piece_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of a piece that are one late fail the witness, which finds them by their times."""
    plain = RunDecoder.__iter__

    def late(self: RunDecoder):  # type: ignore[no-untyped-def]
        frames = list(plain(self))
        for (position, _), (_, frame) in zip(frames, [frames[0], *frames], strict=False):
            yield position, frame

    monkeypatch.setattr(RunDecoder, "__iter__", late)
    with pytest.raises(VerifyError, match="are not what a plain decode"):
        _restored(by_name("h264-closed-gop").make(), "mp4", tmp_path, "0.5", "1.1")


@pytest.mark.slow
def test_a_piece_of_every_material_is_exact_or_refused(tmp_path: Path) -> None:
    """All materials of the catalog that are restored exactly: their pieces pass every check, or a sentence says why there is none."""
    refused = []
    for material in (m for m in MATERIALS if m.expect == "exact"):
        try:
            _restored(
                material.make(),
                material.suffix,
                tmp_path,
                "0.31",
                "0.9",
                target=material.target,
                codec=material.codec,
                hdr=True,
            )
        except BadInput as error:
            refused.append(str(error))
    assert all("no frame of film" in why or "cannot be used for film" in why for why in refused)
    assert len(refused) < 20


@pytest.mark.parametrize("name", ["spliced-program-stream", "h264-b-frames-in-avi"])
def test_films_that_packets_do_not_tell_apart_are_refused(name: str, tmp_path: Path) -> None:
    """A clock that falls back, frames in no order: the sentence names the options, the film and the reason."""
    material = by_name(name)
    with pytest.raises(BadInput, match=r"--from 0\.5 cannot be used for film\..*restore the whole film"):
        _restored(material.make(), material.suffix, tmp_path, "0.5", None)


@pytest.mark.parametrize(("start", "end"), [("2", None), ("0.501", "0.51"), ("1", "frame:5")])
def test_a_piece_without_frames_is_refused(start: str, end: str | None, tmp_path: Path) -> None:
    """The sentence says where the film ends."""
    with pytest.raises(BadInput, match=r"no frame of film\.mp4 lies in --from .*frame 47, at 1\.880 s"):
        _restored(film()(), "mp4", tmp_path, start, end)


def test_pairs_of_a_piece_show_the_same_moments(tmp_path: Path) -> None:
    """Before and after of a piece are the same pictures, taken from the piece alone."""
    data = by_name("h264-closed-gop").make()
    done = _restored(data, "mp4", tmp_path, "0.5", "1.1")
    (tmp_path / "result.mkv").write_bytes(done.data)
    shown = list(pairs(tmp_path / "film.mp4", tmp_path / "result.mkv", 3, piece=done.index.piece))
    assert [pair.label for pair in shown] == ["film.mp4 at 0.60 s", "film.mp4 at 0.80 s", "film.mp4 at 1.00 s"]
    for pair in shown:
        assert float((pair.before.cast("float") - pair.after.cast("float")).abs().avg()) < 1.5


@pytest.mark.parametrize("name", ["hevc-starts-at-a-cra", "edit-list-hides-the-start"])
def test_pairs_show_the_same_moments_where_the_first_packets_give_no_frame(name: str, tmp_path: Path) -> None:
    """Packets before the first frame, hidden or not decodable, move neither side of a pair."""
    material = by_name(name)
    done = _restored(material.make(), material.suffix, tmp_path, "0.5", "1.1")
    (tmp_path / "result.mkv").write_bytes(done.data)
    shown = list(pairs(tmp_path / f"film.{material.suffix}", tmp_path / "result.mkv", 3, piece=done.index.piece))
    assert len(shown) == 3
    for pair in shown:
        assert float((pair.before.cast("float") - pair.after.cast("float")).abs().avg()) < 1.5


def test_interlaced_pieces_are_found_interlaced(tmp_path: Path) -> None:
    """The scan type of a piece is judged by its own frames."""
    data = write(
        Film("mpegts", "mpeg2video", {"g": "12", "bf": "0", "b": "3M", "flags": "+ildct+ilme"}, interlaced="tff")
    )
    source = tmp_path / "film.ts"
    source.write_bytes(data)
    spec = Spec(model="identity", codec="ffv1", deinterlace="bwdif", piece=bounds("0.6", "1.4"))
    done = restore(source, "result.mkv", spec, tmp_path)
    assert done.index.deinterlace
    assert done.index.frames == 20
