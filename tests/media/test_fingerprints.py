"""Fingerprints: the visible samples count, and nothing else."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from media.fingerprints import ABSENT, ffv1_fingerprint, fingerprint, pack_prints, unpack_prints
from media.opening import open_media
from media.plain_decode import Look, read_file
from testkit.clips import make_film

FORMATS = [
    "yuv420p", "yuv422p10le", "nv12", "p010le", "rgb24", "bgr0", "rgb48be", "gray", "gray16le", "ya8", "yuyv422", "monow", "pal8",
    "gbrpf32le", "rgb555le", "uyyvyy411",
]  # fmt: skip


def _filled(name: str, width: int, padding: int) -> av.VideoFrame:
    """A frame of noise whose lines are followed by bytes of value `padding`."""
    noise = np.random.default_rng(1)
    frame = av.VideoFrame(width, 16, name)
    for number, plane in enumerate(frame.planes):
        data = np.full(plane.buffer_size, padding, np.uint8)
        if plane.line_size:
            bits = frame.format.padded_bits_per_pixel if len(frame.planes) == 1 or name == "pal8" else 0
            own = sum((c.bits + 7) // 8 for c in frame.format.components if c.plane == number)
            used = plane.width if name == "pal8" else (plane.width * bits + 7) // 8 if bits else plane.width * own
            lines = data.reshape(-1, plane.line_size)
            lines[: plane.height, :used] = noise.integers(0, 256, (plane.height, used), np.uint8)
        else:
            data[:] = noise.integers(0, 256, len(data), np.uint8)
        plane.update(data.tobytes())
    return frame


@pytest.mark.parametrize("name", FORMATS)
def test_padding_does_not_count(name: str) -> None:
    """Equal samples with other bytes behind the lines have equal fingerprints, at a width that needs padding."""
    one, other = (_filled(name, 37, padding) for padding in (0, 255))
    assert fingerprint(one) == fingerprint(other) != ABSENT


@pytest.mark.parametrize("name", FORMATS)
def test_every_plane_counts(name: str) -> None:
    """A change in the last byte of any plane's first line changes the fingerprint."""
    whole = fingerprint(_filled(name, 36, 0))
    for number in range(len(_filled(name, 36, 0).planes)):
        frame = _filled(name, 36, 0)
        data = bytearray(bytes(frame.planes[number]))
        data[1] ^= 0xFF
        frame.planes[number].update(bytes(data))
        assert fingerprint(frame) != whole


def test_the_unused_byte_does_not_count() -> None:
    """The fourth byte of bgr0 means nothing, and FFV1 does not keep it."""
    frames = [_filled("bgr0", 36, 0) for _ in range(2)]
    data = bytearray(bytes(frames[1].planes[0]))
    data[3::4] = bytes(len(data[3::4]))
    frames[1].planes[0].update(bytes(data))
    assert fingerprint(frames[0]) == fingerprint(frames[1])


def test_fingerprints_survive_packing() -> None:
    """A commit holds exactly the fingerprints that were packed."""
    values = np.array([0, 1, 2**32 - 1], np.uint32)
    assert unpack_prints(pack_prints(values)).tolist() == values.tolist()


def test_a_plain_decode_reads_every_frame(tmp_path: Path) -> None:
    """Frames, times and fingerprints of a whole film, and of its beginning with a limit."""
    path = make_film(tmp_path / "film.mp4", 40)
    with path.open("rb") as file, open_media(file, "film.mp4") as container:
        stream = container.streams.video[0].index
        whole = read_file(container, Look({stream: ffv1_fingerprint}))
    film = whole.streams[stream]
    assert (film.frames, len(film.prints), film.repeated_times, film.complained) == (40, 40, 0, 0)
    assert len(set(film.prints)) == 40
    with path.open("rb") as file, open_media(file, "film.mp4") as container:
        part = read_file(container, Look({stream: ffv1_fingerprint}, limit=7))
    assert not part.whole
    assert part.streams[stream].prints[:7] == film.prints[:7]
