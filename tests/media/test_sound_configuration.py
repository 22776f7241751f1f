"""Changes of a stream's sound are found in its packets, and no damaged header counts as one."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import pytest

from media.sound_configuration import CONFIRMED, SoundConfigurations, described_frame
from testkit.materials.recipe import film
from testkit.materials.write import Film, Sound


@pytest.mark.parametrize("codec", ["mp2", "ac3", "libmp3lame", "eac3", "aac"])
@pytest.mark.parametrize(("rate", "layout", "words"), [(48000, "stereo", "2 channels"), (32000, "mono", "1 channels")])
def test_headers_of_frames_are_read(codec: str, rate: int, layout: str, words: str) -> None:
    """Each codec whose frames describe themselves is read as its decoder reads it."""
    data = film(Film("mpegts", "libx264", sounds=(Sound(codec, rate=rate, layout=layout),)))()
    with av.open(io.BytesIO(data)) as container:
        sound = container.streams.audio[0]
        found = {described_frame(sound.codec_context.name, bytes(p)[:16]) for p in container.demux(sound) if p.size}
    assert found == {f"{rate} Hz, {words}"}


def test_a_damaged_header_is_no_change() -> None:
    """Fewer frames than must agree, with another header, change nothing; enough of them do."""
    whole = bytes.fromhex("fff14c80200000") + bytes(9)
    other = bytes.fromhex("fff15cc0200000") + bytes(9)
    sound = SoundConfigurations("aac", b"")
    for data in (*[whole] * 9, *[other] * (CONFIRMED - 1), *[whole] * 9):
        packet = av.Packet(len(data))
        packet.update(data)
        packet.pts, packet.time_base = 0, Fraction(1, 48000)
        sound.see(packet)
    assert not sound.changes
