"""Every sign of damage is noted at its own packet, by every decoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from media.decoding import BUILDS_ON, INCOMPLETE, PacketDecoder, SequentialDecoder, spans, with_dependants
from media.demuxing import demux
from media.opening import DecoderLog, open_media
from testkit.clips import make_film

FRAMES = 24


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A film of two groups of pictures."""
    return make_film(tmp_path / "film.mp4", FRAMES, (320, 240), gop=12)


def test_a_sound_film_gives_each_packet_its_frame_and_no_note(film: Path) -> None:
    """Every packet number comes out exactly once, and nothing is noted."""
    with film.open("rb") as file, open_media(file, "film") as container:
        decoder = SequentialDecoder(container, container.streams.video[0])
        numbers = [number for number, _ in decoder]
    assert sorted(numbers) == list(range(FRAMES))
    assert not decoder.trouble
    assert not decoder.broken


def test_damaged_bytes_are_noted_at_their_packet(film: Path) -> None:
    """Of packets with overwritten bytes each has a note, and the first note is not before the first of them."""
    with film.open("rb") as file, open_media(file, "film") as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        context.thread_count, context.copy_opaque = 1, True
        notes: list[tuple[int, str]] = []
        with DecoderLog(context.name) as log:
            decoder = PacketDecoder(context, log, lambda number, words: notes.append((number, words)))
            for number, packet in enumerate(demux(container, {stream.index}, [])):
                if number == 5:
                    packet.update(bytes(packet)[:40] + b"\xff" * (packet.size - 40))
                list(decoder.feed(packet, number))  # type: ignore[arg-type]
            list(decoder.drain(number))
    assert notes
    assert min(number for number, _ in notes) == 5


def test_the_mark_of_the_container_is_damage(film: Path) -> None:
    """A packet that the container marks as incomplete is noted although it decodes."""
    with film.open("rb") as file, open_media(file, "film") as container:
        stream = container.streams.video[0]
        stream.codec_context.copy_opaque = True
        notes: dict[int, str] = {}
        decoder = PacketDecoder(stream.codec_context, None, notes.setdefault)
        for number, packet in enumerate(demux(container, {stream.index}, [])):
            list(decoder.feed(packet, number, incomplete=number == 3))  # type: ignore[arg-type]
        list(decoder.drain(number))
    assert notes == {3: INCOMPLETE}


def test_damage_spreads_to_the_pictures_that_lead_the_next_key_and_ends_there() -> None:
    """Positions in decode order: a damaged one, its dependants, a key, a picture that leads the key, one that follows it."""
    order = [(0, True), (2, False), (1, False), (6, True), (4, False), (5, False), (8, False), (7, False)]
    reasons = with_dependants(order, {2: "broken"})
    assert reasons == {2: "broken", 1: BUILDS_ON, 4: BUILDS_ON, 5: BUILDS_ON}
    assert [(s.first, s.count, s.reason) for s in spans(reasons)] == [
        (1, 1, BUILDS_ON),
        (2, 1, "broken"),
        (4, 2, BUILDS_ON),
    ]
