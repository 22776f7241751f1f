from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contract.errors import WeightsError
from weights import download

if TYPE_CHECKING:
    from tests.weights.conftest import Web

DATA = os.urandom(3_000_000)


def _get(web: Web, path: str, target: Path, limit: int = len(DATA)) -> list[tuple[int, int | None]]:
    seen: list[tuple[int, int | None]] = []
    download.download(web.url + path, target, limit, lambda done, total: seen.append((done, total)))
    return seen


def test_a_file_arrives_with_its_progress(web: Web, tmp_path: Path) -> None:
    """The bytes are the server's, and the progress goes from nothing to the whole file."""
    web.files["/a"] = DATA
    seen = _get(web, "/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA
    assert seen[0] == (0, len(DATA))
    assert seen[-1] == (len(DATA), len(DATA))
    assert sorted(seen) == seen


def test_an_interrupted_download_is_resumed(web: Web, tmp_path: Path) -> None:
    """After an interrupted connection only the missing bytes are requested, and the whole file is right."""
    web.files["/a"], web.cuts["/a"] = DATA, [1_000_000, 2_000_000]
    _get(web, "/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA
    assert web.asked == [("/a", None), ("/a", "bytes=1000000-"), ("/a", "bytes=2000000-")]


def test_a_partial_file_is_continued(web: Web, tmp_path: Path) -> None:
    """A partial file of a killed run is continued."""
    web.files["/a"] = DATA
    (tmp_path / "a").write_bytes(DATA[:12345])
    _get(web, "/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA
    assert web.asked == [("/a", "bytes=12345-")]


def test_a_server_without_ranges_starts_again(web: Web, tmp_path: Path) -> None:
    """When a server ignores the range and sends the whole file, the file is not appended to the partial one."""
    web.files["/a"], web.ranges = DATA, False
    (tmp_path / "a").write_bytes(b"x" * 1000)
    _get(web, "/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA


def test_a_partial_file_longer_than_the_file_is_dropped(web: Web, tmp_path: Path) -> None:
    """After status 416 the partial file, which belongs to another file, is discarded and the download starts again."""
    web.files["/a"] = DATA[:100]
    (tmp_path / "a").write_bytes(b"x" * 1000)
    _get(web, "/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA[:100]


def test_a_server_that_always_disconnects_is_given_up(web: Web, tmp_path: Path) -> None:
    """After four connections the error is one sentence, and the received bytes stay for the next call."""
    web.files["/a"], web.cuts["/a"] = DATA, [100, 200, 300, 400]
    with pytest.raises(
        WeightsError, match=r"/a was interrupted 4 times .*400 of 3000000 bytes.*; try again to continue"
    ):
        _get(web, "/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA[:400]


@pytest.mark.parametrize("length", [True, False])
def test_more_bytes_than_expected_are_refused(length: bool, web: Web, tmp_path: Path) -> None:
    """A file larger than its size in the catalog is refused by its length, or at the first excess byte."""
    web.files["/a"], web.length = DATA, length
    with pytest.raises(WeightsError, match="2000000"):
        _get(web, "/a", tmp_path / "a", limit=2_000_000)
    assert not (tmp_path / "a").exists() or (tmp_path / "a").stat().st_size == 0


def test_a_redirect_is_followed_over_http_only(web: Web, tmp_path: Path) -> None:
    """Redirects between http URLs are followed, as release pages need them; one to a local file is refused by name."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    web.files["/a"] = DATA
    web.redirects = {"/good": "/a", "/evil": secret.as_uri(), "/loop": "/loop", "/ftp": "ftp://127.0.0.1/a"}
    _get(web, "/good", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA
    with pytest.raises(WeightsError, match=r"/evil answered 302 .*file:.* is not allowed"):
        _get(web, "/evil", tmp_path / "b")
    with pytest.raises(WeightsError, match=r"'ftp:.* is not an allowed URL for weights; use an http or https"):
        _get(web, "/ftp", tmp_path / "b")
    with pytest.raises(WeightsError, match="/loop answered 302"):
        _get(web, "/loop", tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/a", "data:,x", "http://", "https://user:secret@host/a", "HTTPS:/a"]
)
def test_other_urls_are_refused_unopened(url: str, tmp_path: Path) -> None:
    """Only http and https with a host are opened, and credentials in a URL are not repeated in the message."""
    with pytest.raises(WeightsError) as caught:
        download.download(url, tmp_path / "a", 10, lambda _done, _total: None)
    assert "secret" not in str(caught.value)


def test_a_missing_file_and_a_dead_server_are_named(web: Web, tmp_path: Path) -> None:
    """The errors for status 404 and for a refused connection are one sentence with the URL and the reason."""
    with pytest.raises(WeightsError, match=r"/nothing answered 404 Not Found\."):
        _get(web, "/nothing", tmp_path / "a")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(WeightsError, match=rf"http://127\.0\.0\.1:{port}/a cannot be reached .*refused"):
        download.download(f"http://127.0.0.1:{port}/a", tmp_path / "a", 10, lambda _done, _total: None)
