"""Files made to hurt: each is refused in one sentence, opens nothing else, and costs little."""

from __future__ import annotations

import io
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import BadInput
from contract.job import Item, Spec
from media.opening import open_media
from orchestrator.assemble.matroska_aspect import _element as element
from orchestrator.ingest.film import plan_film
from testkit.materials.recipe import jpeg
from testkit.materials.write import Film, write


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that nobody should come to."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.05)
        yield server


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A film that plays well, and that nobody should read."""
    path = tmp_path / "canary.ts"
    path.write_bytes(write(Film("mpegts", "libx264", frames=8)))
    return path


def playlists(canary: Path, port: int) -> dict[str, bytes]:
    url = f"http://127.0.0.1:{port}/film.ts"
    return {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{canary}\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n".encode(),
        "dash": (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S">'
            f'<Period><AdaptationSet><Representation id="1" bandwidth="1"><BaseURL>{url}</BaseURL></Representation>'
            "</AdaptationSet></Period></MPD>"
        ).encode(),
        "concat": f"ffconcat version 1.0\nfile {canary}\n".encode(),
        "sdp": (
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
            f"m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n"
        ).encode(),
        "asx": f'<asx version="3.0"><entry><ref href="{url}"/></entry></asx>'.encode(),
        "image": jpeg(),
        "text": b"not a film\n" * 500,
        "empty": b"",
    }


def _plan(data: bytes) -> None:
    item = Item(0, "video", "film.mp4", "film.mkv", "0" * 64, len(data))
    plan_film(io.BytesIO(data), item, Spec(model="identity", codec="ffv1"), 1)


@pytest.mark.parametrize("kind", ["hls", "dash", "concat", "sdp", "asx", "image", "text", "empty"])
def test_playlists_in_disguise_are_refused(
    kind: str, canary: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A playlist called film.mp4 reads no other file and opens no connection."""
    data = playlists(canary, listener.getsockname()[1])[kind]
    read_before = canary.stat().st_atime_ns
    with pytest.raises(BadInput) as caught:
        _plan(data)
    assert "\n" not in str(caught.value)
    assert "film.mp4" in str(caught.value)
    with pytest.raises(TimeoutError):
        listener.accept()
    assert canary.stat().st_atime_ns == read_before


def test_image_sequences_by_pattern_are_not_followed(tmp_path: Path) -> None:
    """A file whose name is a pattern is read as itself: FFmpeg never sees names."""
    for n in range(3):
        (tmp_path / f"image-{n:03d}.jpg").write_bytes(jpeg())
    pattern = tmp_path / "image-%03d.jpg"
    pattern.write_bytes(b"nothing")
    with pattern.open("rb") as file, pytest.raises(BadInput), open_media(file, "the pattern"):
        pass


def many_streams(count: int) -> bytes:
    """A Matroska header with `count` audio tracks."""
    head = element(0x1A45DFA3, element(0x4282, b"matroska") + element(0x4287, b"\x04") + element(0x4285, b"\x02"))
    sound = element(0xE1, element(0xB5, struct.pack(">f", 8000)) + element(0x9F, b"\x01") + element(0x6264, b"\x10"))
    tracks = b"".join(
        element(
            0xAE,
            element(0xD7, n.to_bytes(2, "big"))
            + element(0x73C5, n.to_bytes(4, "big"))
            + element(0x83, b"\x02")
            + element(0x86, b"A_PCM/INT/LIT")
            + sound,
        )
        for n in range(1, count + 1)
    )
    info = element(0x1549A966, element(0x2AD7B1, (1_000_000).to_bytes(3, "big")))
    return head + element(0x18538067, info + element(0x1654AE6B, tracks))


def wide() -> bytes:
    """A film of two small frames whose container claims a width of 65535."""
    data = bytearray(write(Film("matroska", "ffv1", {"level": "3"}, frames=2, size=(300, 200))))
    at = data.find(b"\xb0\x82\x01\x2c")
    data[at + 2 : at + 4] = b"\xff\xff"
    return bytes(data)


def endless_table() -> bytes:
    """An mp4 whose table of sample sizes claims two billion entries."""
    data = bytearray(write(Film("mp4", "libx264", frames=10)))
    at = data.find(b"stsz")
    data[at + 12 : at + 16] = struct.pack(">I", 0x7FFFFFFF)
    return bytes(data)


@pytest.mark.parametrize("make", [lambda: many_streams(5000), wide, endless_table], ids=["streams", "size", "table"])
def test_absurd_headers_are_refused_soon_and_cheaply(make) -> None:  # type: ignore[no-untyped-def]
    """Thousands of streams, absurd sizes and endless tables cost CPU seconds, not minutes, and no memory to speak of."""
    data = make()
    before = _memory()
    began = time.process_time()
    with pytest.raises(BadInput):
        _plan(data)
    assert time.process_time() - began < 10
    assert _memory() - before < 256 << 20


def _memory() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024
