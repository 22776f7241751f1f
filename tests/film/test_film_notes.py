"""True notes on all that a result lacks: side data, chapters, formats that change, bytes not read."""

from __future__ import annotations

import io
import itertools
from fractions import Fraction
from pathlib import Path

import av
import pytest

from contract.errors import BadInput, Unsupported
from contract.job import Spec
from contract.severity import severity
from media.codecs import readable
from media.demuxing import holds_early
from media.frame_changes import merged
from testkit.materials.catalog import by_name
from testkit.materials.damage import APPLY
from testkit.materials.grammar import draw
from testkit.materials.in_process import Restored, restore
from testkit.materials.recipe import H264, STEREO, film, x264, x265
from testkit.materials.write import Film, Sound, write

MASTERING = ":master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,500):max-cll=1000,400"


def _restored(data: bytes, suffix: str, folder: Path, result: str = "result.mkv", **options: object) -> Restored:
    (folder / f"film.{suffix}").write_bytes(data)
    spec = Spec(model="identity", **{"codec": "ffv1", "chunk_frames": 16, **options})  # type: ignore[arg-type]
    return restore(folder / f"film.{suffix}", result, spec, folder)


def _said(done: Restored) -> list[str]:
    return done.notes + merged(note for result in done.results for note in result.notes)


def captioned(data: bytes) -> bytes:
    """An H.264 packet between start codes with a caption message (ATSC A/53 part 4) before its first slice."""
    body = b"\xb5\x00\x31GA94\x03\x41\xff\xfc\x94\x20\xff"
    message = b"\0\0\0\1\x06\x04" + bytes([len(body)]) + body + b"\x80"
    at = data.find(b"\0\0\1")
    while at >= 0 and data[at + 3] & 31 not in (1, 5):
        at = data.find(b"\0\0\1", at + 3)
    at -= data[at - 1] == 0
    return data[:at] + message + data[at:]


def test_captions_inside_the_pictures_are_named(tmp_path: Path) -> None:
    """Captions in a transport stream are counted, and a note tells where they went."""
    data = write(Film("mpegts", "libx264", x264(), patch=captioned))
    lossless = _restored(data, "ts", tmp_path)
    assert [n for n in _said(lossless) if "captions" in n] == [
        "film.ts holds captions (CEA-608/708) in 48 frames, from frame 0 to frame 47",
        "captions of 48 frames are beside the result (.scc) only",
    ]
    lossy = _restored(data, "ts", tmp_path, codec="x264")
    assert not any("not carried" in n or "only" in n for n in _said(lossy))


def test_hdr_metadata_and_packed_views_are_reported(tmp_path: Path) -> None:
    """Descriptions of the pictures that are not carried over are named."""
    options = x265()
    options["x265-params"] += MASTERING
    mastered = write(Film("matroska", "libx265", options, pix_fmt="yuv420p10le", frames=6, colour=(1, 1, 1, 1)))
    assert "not carried: HDR metadata inside the pictures" in _said(_restored(mastered, "mkv", tmp_path))
    packed = film(options=x264(**{"frame-packing": 3}), frames=6)()
    assert "not carried: how two views are packed into one picture" in _said(_restored(packed, "mp4", tmp_path))


def test_another_format_in_the_middle_is_said_once_for_the_film(tmp_path: Path) -> None:
    """Frames of other chroma are converted, frames with other tags taken as they are, and the chunks' notes are one each."""
    said = _said(_restored(by_name("chroma-and-range-change").make(), "ts", tmp_path, chunk_frames=7))
    assert [n for n in said if "yuvj444p" in n or "yuv444p" in n] == [
        f"24 frames from 24 on are {n.split()[6]} in the source and are converted as all others are"
        for n in said
        if "444p" in n
    ]
    assert any(n.startswith("24 frames from 24 on are tagged with range 2") for n in said)
    assert any(n.startswith("24 frames from 24 on are tagged with matrix 6") for n in said)


def test_chapters_that_begin_together_are_counted(tmp_path: Path) -> None:
    """Matroska's reader passes over a chapter that begins where another does: the film is delivered, and a note counts."""

    def dress(container: av.container.OutputContainer, stream: av.VideoStream) -> None:
        spans = ((0, 500), (500, 501), (1200, 1920))
        container.set_chapters(
            [
                {
                    "id": i,
                    "start": a,
                    "end": b,
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": f"{i}"} if i != 1 else {},
                }
                for i, (a, b) in enumerate(spans)
            ]
        )

    done = _restored(film(sounds=STEREO, dress=dress)(), "mp4", tmp_path)
    assert any("1 of 3 chapters" in note for note in _said(done))


@pytest.mark.parametrize("suffix", ["mkv", "ts", "mp4"])
@pytest.mark.parametrize("kind", ["truncated", "dropped", "scrambled"])
def test_bytes_that_a_container_cannot_read_are_damage(kind: str, suffix: str, tmp_path: Path) -> None:
    """Broken bytes that the demuxer skips are reported with their place, because frames may be missing there."""
    format_name = {"mkv": "matroska", "ts": "mpegts", "mp4": "mp4"}[suffix]
    muxer = {"movflags": "faststart"} if suffix == "mp4" else {}
    whole = write(Film(format_name, "libx264", x264(), frames=60, size=(160, 96), sounds=(Sound("mp2"),), muxer=muxer))
    silent = []
    for seed in range(4):
        done = _restored(APPLY[kind](whole, seed), suffix, tmp_path)
        frames = sum(r.frames for r in done.results)
        if frames < 60 and not done.damage:
            silent.append((seed, frames))
        assert all(first + count <= done.index.frames for first, count, _ in done.damage)
    if (kind, suffix) != ("truncated", "ts"):  # cut between two packets of 188 bytes it is a shorter recording
        assert silent == []


def test_a_second_film_behind_the_first_is_said(tmp_path: Path) -> None:
    """Of two mp4 files in one only the first is read."""
    done = _restored(film()() + film(seed=3)(), "mp4", tmp_path)
    assert any("duplicated MOOV" in note for note in _said(done))


def test_times_that_are_taken_do_not_move_what_follows(tmp_path: Path) -> None:
    """A frame with the time of the one before gets one of its own; all later ones keep theirs, and sound stays with them."""
    done = _restored(by_name("times-taken-twice").make(), "mkv", tmp_path)
    (tmp_path / "result.mkv").write_bytes(done.data)
    with av.open(str(tmp_path / "result.mkv")) as container:
        times = [p.pts for p in container.demux(video=0) if p.size]
    assert times == [40 * i for i in range(48)]
    assert any(
        note.startswith("2 frames of film.mkv carry no time of their own, or one that is taken") for note in done.notes
    )


def test_formats_that_workers_cannot_read_are_refused_before_work(tmp_path: Path) -> None:
    """The planner knows exactly which pixel formats the workers' converter takes."""
    from av.video.format import names

    from workers.film.pixel_layout import layout

    def taken(name: str) -> bool:
        try:
            return bool(layout(name))
        except Unsupported:
            return False

    assert [n for n in names if taken(n) != readable(n)] == []
    (tmp_path / "film.mov").write_bytes(write(Film("mov", "png", pix_fmt="rgba64be", frames=2)))
    with pytest.raises(Unsupported, match="cannot hold the 16 bits"):
        restore(tmp_path / "film.mov", "r.mov", Spec(model="identity", codec="prores"), tmp_path)


def test_full_range_is_not_written_as_prores(tmp_path: Path) -> None:
    """ProRes has no way to say full range, so that a player would stretch it."""
    with pytest.raises(Unsupported, match="full range"):
        _restored(by_name("mjpeg").make(), "avi", tmp_path, "r.mov", codec="prores")


def test_the_last_frame_lasts_as_long_as_its_track(tmp_path: Path) -> None:
    """Packets of reordered mp4 tell the distance of decode times, a minute here; the track's own length is kept."""
    done = _restored(by_name("stands-still-for-a-minute").make(), "mp4", tmp_path, "r.mp4", codec="x264")
    (tmp_path / "r.mp4").write_bytes(done.data)
    with av.open(str(tmp_path / "r.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.duration * stream.time_base == Fraction(90120, 1000)


def test_an_index_that_points_before_the_file_is_bad_input_and_no_crash(tmp_path: Path) -> None:
    """FFmpeg asks for a negative position; that is the file's fault and stays one."""
    from media.opening import _Nameless

    (tmp_path / "x").write_bytes(b"abc")
    with (tmp_path / "x").open("rb") as file:
        assert _Nameless(file).seek(-5) < 0
        assert _Nameless(file).seek(1) == 1


def test_bottom_field_first_is_said_by_the_headers_of_x264(tmp_path: Path) -> None:
    """An interlaced film of x264 in mp4, which has no other place for it, keeps its field order."""
    done = _restored(
        film(H264, options=x264(bff=1), interlaced="bff", size=(96, 96))(), "mp4", tmp_path, "r.mp4", codec="x264"
    )
    assert done.index.encoding.field_order == 3
    assert not any("interlaced" in note for note in done.notes)
    webm = _restored(
        film(H264, options=x264(bff=1), interlaced="bff", size=(96, 96))(), "mp4", tmp_path, "r.webm", codec="vp9"
    )
    assert any("interlaced (bottom field first)" in note for note in webm.notes)


def beside(codec: str, payload: bytes) -> bytes:
    """A transport stream with packets of `codec` beside its film."""
    sink = io.BytesIO()
    with (
        av.open(io.BytesIO(write(Film("mpegts", "libx264", x264())))) as source,
        av.open(sink, "w", format="mpegts") as container,
    ):
        pictures = container.add_stream_from_template(source.streams.video[0], opaque=True)
        other = container.add_mux_stream(codec)
        for packet in source.demux():
            if packet.size:
                packet.stream = pictures
                container.mux(packet)
            if packet.size and packet.is_keyframe:
                extra = av.Packet(len(payload))
                extra.update(payload)
                extra.pts = extra.dts = packet.dts
                extra.time_base, extra.stream = packet.time_base, other
                container.mux(extra)
    return sink.getvalue()


@pytest.mark.parametrize(("codec", "payload"), [("dvb_teletext", bytes(184)), ("scte_35", b"\xfc0" + bytes(30))])
def test_streams_that_nobody_can_copy_are_left_behind_by_name(codec: str, payload: bytes, tmp_path: Path) -> None:
    """Teletext and cues of a broadcast do not make it impossible to restore, and the note says nothing untrue."""
    notes = _restored(beside(codec, payload), "ts", tmp_path).notes
    assert len([n for n in notes if "is left behind: the container has no place for it" in n]) == 1


def test_strict_refuses_what_a_film_would_lose(tmp_path: Path) -> None:
    """A stream that is left behind is a loss; with --strict the film is refused when it is planned, and the sentence names it."""
    data = beside("scte_35", b"\xfc0" + bytes(30))
    notes = _restored(data, "ts", tmp_path).notes
    assert [severity(note) for note in notes if "left behind" in note] == ["loss"]
    with pytest.raises(BadInput, match=r"--strict: film\.ts would lose something: .*left behind"):
        _restored(data, "ts", tmp_path, strict=True)


def test_a_gap_in_a_steady_film_is_said(tmp_path: Path) -> None:
    """A fragment of an mp4 is gone and nothing in it is broken: the times tell, and keep the gap."""
    muxer = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    whole = film(frames=60, muxer=muxer)()
    boxes = [at - 4 for at in range(len(whole)) if whole[at : at + 4] == b"moof"]
    done = _restored(whole[: boxes[2]] + whole[boxes[3] :], "mp4", tmp_path)
    assert "in film.mp4 there is a gap of 0.480 s after frame 23: frames may be missing there" in done.notes
    assert done.index.frames == 48


def oriented(data: bytes) -> bytes:
    """A JPEG picture with EXIF that says it is to be turned clockwise."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    return data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]


def test_pictures_that_say_which_way_is_up_stay_so(tmp_path: Path) -> None:
    """The result of Motion JPEG with an EXIF orientation carries the rotation, although no container declared it.

    A container that cannot carry the rotation is refused.
    """
    data = write(Film("mov", "mjpeg", pix_fmt="yuvj420p", frames=5, patch=oriented))
    done = _restored(data, "mov", tmp_path)
    (tmp_path / "turned.mkv").write_bytes(done.data)
    with av.open(str(tmp_path / "turned.mkv")) as container:
        assert next(container.decode(video=0)).rotation == -90
    with pytest.raises(Unsupported, match="EXIF"):
        _restored(data, "mov", tmp_path, "r.ts", codec="x264")


def test_tracks_keep_their_names_in_mp4(tmp_path: Path) -> None:
    """A track's name, which mp4 reads as a name and writes as a title, arrives without a note of its loss."""

    def dress(container: av.container.OutputContainer, stream: av.VideoStream) -> None:
        stream.metadata["title"] = "The picture"
        container.streams.audio[0].metadata["title"] = "Commentary"

    done = _restored(film(sounds=STEREO, dress=dress)(), "mp4", tmp_path, "r.mp4", codec="x264")
    (tmp_path / "r.mp4").write_bytes(done.data)
    with av.open(str(tmp_path / "r.mp4")) as container:
        assert [s.metadata.get("name") for s in container.streams] == ["The picture", "Commentary"]
    assert not any("does not keep" in note for note in done.notes)


def test_sound_from_before_zero_moves_everything_in_mp4(tmp_path: Path) -> None:
    """mp4 hides what is before 0: everything starts later, to the tick."""
    sound = Sound("pcm_s16le", start=-0.4)
    data = write(Film("matroska", "libx264", x264(), sounds=(sound,), muxer={"avoid_negative_ts": "disabled"}))
    done = _restored(data, "mkv", tmp_path, "r.mp4", codec="x264")
    assert any("start 0.400 s later" in note or "start 0.401 s later" in note for note in done.notes)
    (tmp_path / "r.mp4").write_bytes(done.data)
    with av.open(str(tmp_path / "r.mp4")) as container:
        shown = sorted(p.pts * p.time_base for p in container.demux(video=0) if p.size)
    assert len(shown) == 48
    assert {round((b - a) * 1000) for a, b in itertools.pairwise(shown)} == {40}


@pytest.mark.parametrize("container", ["matroska", "webm"])
def test_one_packet_from_before_zero_has_no_time(container: str) -> None:
    """Matroska and WebM are read by one demuxer, which reckons such a packet's time from the one after it."""
    start = Fraction(-1, 200)
    assert holds_early(container, start, 2)
    assert not holds_early(container, start, 1)


def test_one_packet_from_before_zero_moves_everything_in_mkv(tmp_path: Path) -> None:
    """Readers of Matroska have no time for it where no packet follows: it was delivered 5.33 ms late beside the picture."""
    done = _restored(draw(827).data, "mov", tmp_path)
    assert any("no time for a single packet" in note and "start 0.005 s later" in note for note in done.notes)
    (tmp_path / "r.mkv").write_bytes(done.data)
    first = {}
    with av.open(str(tmp_path / "r.mkv")) as container:
        for packet in container.demux():
            if packet.pts is not None:
                first.setdefault(packet.stream.type, packet.pts * packet.time_base)
    assert abs(first["video"] - first["audio"] - Fraction(256, 48000)) < Fraction(1, 5000)
