"""Films that are cut by decoding: damage is reported for each frame that shows it."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest

from contract.job import Item, Spec
from media.decoding import BUILDS_ON
from media.demuxing import demux
from media.fingerprints import fingerprint
from orchestrator.ingest.film import plan_film
from orchestrator.ingest.lossless import damaged_frames
from testkit.materials.recipe import x264
from testkit.materials.write import Film, write


def with_broken_packet(data: bytes, form: str, number: int) -> bytes:
    """Return the film with the second half of its `number`-th packet of pictures overwritten with noise."""
    out = io.BytesIO()
    rng = np.random.default_rng(3)
    with av.open(io.BytesIO(data), "r") as source, av.open(out, "w", format=form) as copy:
        video = source.streams.video[0]
        stream = copy.add_stream_from_template(video, opaque=True)
        for n, packet in enumerate(demux(source, {video.index}, [])):
            if n == number:
                keep = packet.size // 2
                packet.update(bytes(packet)[:keep] + rng.integers(1, 256, packet.size - keep, dtype=np.uint8).tobytes())
            packet.stream = stream
            copy.mux(packet)
    return out.getvalue()


def prints(data: bytes) -> list[int]:
    with av.open(io.BytesIO(data), "r") as container:
        container.streams.video[0].codec_context.thread_count = 1
        return [fingerprint(frame) for frame in container.decode(video=0)]


AVI = {
    "h263p": Film("avi", "h263p", {"g": "12"}, size=(176, 144)),
    "cinepak": Film("avi", "cinepak", size=(176, 144), pix_fmt="rgb24"),
    "h264": Film("avi", "libx264", x264(cabac=0)),
}
"""Films that are cut by decoding, of codecs whose decoders notice noise in a packet."""


@pytest.mark.parametrize("codec", AVI)
@pytest.mark.slow
def test_frames_that_are_decoded_from_a_damaged_one_are_reported(codec: str, tmp_path: Path) -> None:
    """Each frame that differs from the sound film is reported, and no frame of another group of pictures is."""
    form, sound = "avi", write(AVI[codec])
    path = tmp_path / f"film.{form}"
    path.write_bytes(with_broken_packet(sound, form, 15))
    with path.open("rb") as file:
        item = Item(0, "video", path.name, "result.mkv", "0" * 64, path.stat().st_size)
        index = plan_film(file, item, Spec(model="identity", codec="ffv1"), 1)
    assert index.lossless
    before, after = prints(sound), prints(path.read_bytes())
    assert len(before) == len(after)
    wrong = {n for n, pair in enumerate(zip(before, after, strict=True)) if len(set(pair)) > 1}
    reported = {n for span in index.damage for n in range(span.first, span.first + span.count)}
    assert len(wrong) > 1
    assert wrong <= reported
    assert any(span.reason == BUILDS_ON for span in index.damage)
    assert reported <= set(range(11, 27))


def test_a_packet_without_a_frame_damages_the_next() -> None:
    """Packets 0 to 7 without 3: its damage begins at the frame of packet 4 and ends at the decoder's next key frame."""
    spans = damaged_frames([0, 1, 2, 4, 5, 6, 7], [True, False, False, False, False, True, False], {3: "broken"})
    assert [(s.first, s.count, s.reason) for s in spans] == [(3, 1, "broken"), (4, 1, BUILDS_ON)]


def test_pictures_that_lead_a_key_frame_may_show_the_damage_before_it() -> None:
    """In output order: packet 4 is the key frame at position 4, and packet 5 is shown before it."""
    spans = damaged_frames([0, 1, 2, 5, 4, 6], [True, False, False, False, True, False], {2: "broken"})
    assert [(s.first, s.count, s.reason) for s in spans] == [(2, 1, "broken"), (3, 1, BUILDS_ON)]
