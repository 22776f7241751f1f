"""The quick way of small calls answers as boto3 does, on a real S3 server, and leaves to boto3 what is not certain."""

from __future__ import annotations

import math
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contract.errors import IntegrityError, Missing, RespoolError, Unreachable, UsageError
from contract.settings import Settings
from stores import quick_s3
from stores.boto_storage import BotoStorage
from stores.quick_s3 import LARGEST
from stores.storage import Storage

NAMES = [
    "a",
    "a b",
    "a+b",
    "ä",
    "e\u0301",
    "日本",
    "a%20b",
    "%2F",
    "a#b?c",
    "a*b",
    "~",
    "'\"",
    "<&>",
    "..a",
    "a.",
    "😀",
]
ODD = ["a\\b", "a\tb", "a\x7fb", "a//b", "a/./b"]
"""Keys that the quick way does not take."""


class _NoClient:
    """In the place of boto3's client: no call may come here."""

    def __getattr__(self, name: str) -> Any:
        """Refuse every call."""
        raise AssertionError(f"boto3 was asked to {name}")


@pytest.fixture(autouse=True)
def _loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first call be quick."""
    monkeypatch.setattr(quick_s3, "_LOADED_AFTER", 0)


@pytest.fixture
def slow(settings: Settings) -> BotoStorage:
    return BotoStorage(settings)


@pytest.fixture
def quick(settings: Settings) -> Storage:
    """A storage that fails when boto3 is asked."""
    storage = Storage(settings)
    storage._client = _NoClient()  # type: ignore[assignment]
    return storage


@pytest.mark.parametrize("name", NAMES)
def test_what_one_way_writes_the_other_reads(quick: Storage, slow: BotoStorage, name: str, tmp_path: Path) -> None:
    """Objects, heads, copies, conditions, lists and removals are the same by both, for any name that is taken."""
    key, beside = f"same/{name}", f"beside/{name}"
    assert quick.find(key) is slow.find(key) is None
    assert quick.stat(key) == slow.stat(key) == ()
    assert quick.put(key, name.encode(), if_absent=True)
    assert not quick.put(key, b"other", if_absent=True)
    assert not slow.put(key, b"other", if_absent=True)
    assert quick.tagged(key) == slow.tagged(key)
    assert quick.stat(key) == slow.stat(key)
    data, etag = quick.tagged(key) or (b"", "")
    assert data == name.encode()
    assert quick.swap(key, b"second", etag)
    assert not quick.swap(key, b"third", etag)
    assert not quick.swap(beside, b"third", etag)
    quick.copy(key, beside, 6)
    assert slow.get(beside) == quick.get(beside) == b"second"
    assert slow.fetch_file(beside, tmp_path / "a") == quick.fetch_file(beside, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == b"second"
    assert quick.put_file(beside, tmp_path / "a") == slow.fetch_file(beside, tmp_path / "c")[1]
    assert list(quick.list("beside/")) == list(slow.list("beside/"))
    quick.delete(key)
    quick.delete(key)
    assert slow.find(key) is None


def test_lists_are_the_same_over_pages_and_from_any_key(quick: Storage, slow: BotoStorage, settings: Settings) -> None:
    """Order, sizes and the start after a key are boto3's."""
    for n in range(1100):
        quick.put(f"many/{n % 7}/{n:04}", b"x" * (n % 5))
    assert len(list(quick.list("many/"))) == 1100
    for after in ("", "many/3/0003", "many/3/0004", "many/9"):
        assert list(quick.list("many/", after)) == list(slow.list("many/", after))
    assert list(Storage(settings).list("many/", "many/3/")) == list(slow.list("many/", "many/3/"))
    assert list(quick.list("nothing/")) == []


@pytest.mark.parametrize("name", ODD)
def test_keys_that_the_library_would_change_go_by_boto3(settings: Settings, name: str) -> None:
    """The object is the one of this very key, or the server refuses the key with the same words."""

    def outcome(storage: BotoStorage) -> str:
        try:
            storage.put(f"odd/{name}", b"x")
            return repr(storage.get(f"odd/{name}"))
        except RespoolError as error:
            return str(error)

    storage = Storage(settings)
    assert outcome(BotoStorage(settings)) == outcome(storage)
    assert storage._quick is not None
    assert storage._quick._store is None


def test_a_large_object_goes_in_blocks(settings: Settings, quick: Storage, tmp_path: Path) -> None:
    """The largest small one is quick; one byte more is boto3's, both ways, and a bound is held."""
    storage = Storage(settings)
    for size in (LARGEST, LARGEST + 1):
        (tmp_path / "in").write_bytes(os.urandom(size))
        storage.put_file(f"large/{size}", tmp_path / "in")
        storage.get_file(f"large/{size}", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()
        assert storage.size(f"large/{size}") == size
        with pytest.raises(UsageError, match=f"it may have {size - 1} at most"):
            storage.find(f"large/{size}", size - 1)
    quick.get_file(f"large/{LARGEST}", tmp_path / "out")
    with pytest.raises(AssertionError, match="boto3 was asked to get_object"):
        quick.get_file(f"large/{LARGEST + 1}", tmp_path / "out")


def test_a_full_disk_is_named(quick: Storage) -> None:
    """A refusal of the local disk keeps its file's name, and is not taken for the network's."""
    quick.put("full", b"x" * 1000)
    with pytest.raises(OSError, match="/dev/full"):
        quick.get_file("full", Path("/dev/full"))


def test_damage_at_rest_is_an_error_by_the_quick_way_too(settings: Settings, tmp_path: Path) -> None:
    """Bytes that differ from their record are read again, and then named."""
    storage = Storage(settings)
    storage._client.put_object(Bucket=storage.bucket, Key="flipped", Body=b"x", Metadata={"sha256": "0" * 64})
    with pytest.raises(IntegrityError, match="object flipped"):
        storage.get("flipped")
    with pytest.raises(IntegrityError, match="object flipped"):
        storage.get_file("flipped", tmp_path / "out")


@pytest.mark.parametrize(
    "changed",
    [
        {"s3_endpoint": "http://127.0.0.1:1", "connect_timeout_s": 0.3},
        {"s3_secret_key": "wrong"},
        {"s3_access_key": "nobody"},
        {"s3_bucket": "not-there"},
    ],
)
def test_failures_are_said_as_boto3_would_say_them(settings: Settings, changed: dict[str, Any]) -> None:
    """Each call raises the same error, with the same sentence, as without the quick way."""
    wired = replace(settings, **changed)
    ways: tuple[type[BotoStorage], ...] = (BotoStorage, Storage)
    calls: list[Callable[[BotoStorage], object]] = [
        lambda s: s.find("k"),
        lambda s: s.put(type(s).__name__, b"x", if_absent=True),
        lambda s: s.stat("k"),
        lambda s: s.copy("k", "l", 1),
        lambda s: list(s.list("k/")),
    ]
    for call in calls[: 1 if "s3_endpoint" in changed else None]:  # boto3 waits between its tries of a dead server
        said = []
        for way in ways:
            try:
                said.append(repr(call(way(wired))))
            except RespoolError as error:
                said.append(f"{type(error).__name__}: {error}".replace("BotoStorage", "Storage"))
        assert said[0] == said[1]


def test_an_absent_object_lets_nothing_rest(settings: Settings) -> None:
    """A missing object is an answer of a server that is well: the calls after it are quick."""
    storage = Storage(settings)
    assert storage.find("absent") is None
    with pytest.raises(Missing, match="absent is not in bucket"):
        storage.copy("absent", "copied", 1)
    assert storage._quick is not None
    assert storage._quick._rests_until == 0.0


def test_a_failure_lets_the_quick_way_rest(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one failure calls are boto3's, and after the rest they are quick again."""
    storage = Storage(settings)
    storage.put("rest", b"x")
    quick = storage._quick
    assert quick is not None
    quick._failed()
    monkeypatch.setattr(quick_s3.time, "monotonic", lambda: quick._rests_until - 1)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "_client", _NoClient())
        with pytest.raises(AssertionError, match="boto3 was asked"):
            storage.get("rest")
    assert storage.get("rest") == b"x"
    monkeypatch.setattr(quick_s3.time, "monotonic", lambda: quick._rests_until)
    monkeypatch.setattr(storage, "_client", _NoClient())
    assert storage.get("rest") == b"x"


def test_a_lost_answer_is_no_second_commit(settings: Settings) -> None:
    """A conditional PUT whose answer is lost has its effect once, and the caller finds its own object."""
    server = socket.create_server(("127.0.0.1", 0))
    host, _, port = settings.s3_endpoint.removeprefix("http://").partition(":")

    def relay() -> None:
        """Pass the first request on, and close before its answer; others are refused."""
        connection, _ = server.accept()
        with connection, socket.create_connection((host, int(port))) as upstream:
            upstream.sendall(_request(connection))
            assert upstream.recv(1 << 16)
        server.close()

    thread = threading.Thread(target=relay)
    thread.start()
    storage = Storage(settings)
    assert storage._quick is not None
    relayed = replace(settings, s3_endpoint=f"http://127.0.0.1:{server.getsockname()[1]}")
    storage._quick._client = Storage(relayed)._client
    assert storage.put("lost", b"mine", if_absent=True) is False
    thread.join()
    assert storage.get("lost") == b"mine"


def _request(connection: socket.socket) -> bytes:
    """Read one request whole."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1 << 16)
    head, _, body = data.partition(b"\r\n\r\n")
    size = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    while len(body) < size:
        more = connection.recv(1 << 16)
        body, data = body + more, data + more
    return data


def test_a_forked_child_asks_boto3(settings: Settings) -> None:
    """The library's threads do not live in a forked child, which reads by boto3 all the same."""
    storage = Storage(settings)
    storage.put("forked", b"x")
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if storage.get("forked") == b"x" else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_private_authority_is_boto3s_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With AWS_CA_BUNDLE no call over TLS goes to a library that does not know it."""
    monkeypatch.setenv("AWS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt")
    for scheme, rests in (("http", False), ("https", True)):
        storage = Storage(replace(settings, s3_endpoint=f"{scheme}://127.0.0.1:1", connect_timeout_s=0.2))
        assert storage._quick is not None
        with pytest.raises(quick_s3.Unsure):
            storage._quick.read("k")
        assert (storage._quick._rests_until == math.inf) is rests


def test_without_credentials_boto3_says_so(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is asked without a key, and the sentence names what to check."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    storage = Storage(replace(settings, s3_access_key="", s3_secret_key=""))
    with pytest.raises(Unreachable):
        storage.find("k")
    with pytest.raises(Missing):
        Storage(settings).get("absent")
