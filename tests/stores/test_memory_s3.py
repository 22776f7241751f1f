"""The store in memory of trials answers as a real S3 server does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import Missing
from contract.settings import Settings
from stores.storage import Storage
from testkit.call_faults import Calls, disturbed
from testkit.memory_s3 import MemoryS3


@pytest.fixture(params=["real", "memory"])
def storage(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Storage]:
    with disturbed(Calls, MemoryS3() if request.param == "memory" else None):
        yield Storage(settings)


def test_objects_are_read_as_written(storage: Storage, tmp_path: Path) -> None:
    """Bytes, ranges, sizes and SHA-256 agree; what is absent is absent; a removal may be repeated."""
    storage.put("one/a", b"0123456789")
    (tmp_path / "b").write_bytes(b"b" * 1000)
    digest = storage.put_file("one/b", tmp_path / "b")
    assert storage.get("one/a") == b"0123456789"
    assert storage.read_range("one/a", 2, 5) == b"234"
    assert storage.stat("one/b") == (1000, digest)
    assert storage.get_file("one/b", tmp_path / "c") == digest
    storage.copy("one/a", "two/a", 10)
    assert storage.get("two/a") == b"0123456789"
    assert list(storage.list("one/")) == [("one/a", 10), ("one/b", 1000)]
    assert {"one", "two"} <= set(storage.folders(""))
    assert storage.newest("one/") > storage.newest("none/")
    storage.delete("two/a")
    storage.delete("two/a")
    assert storage.find("two/a") is None
    assert storage.stat("two/a") == ()
    with pytest.raises(Missing):
        storage.get("two/a")


def test_conditions_hold(storage: Storage) -> None:
    """If-None-Match keeps what is there; If-Match replaces only what was read."""
    assert storage.put("c/x", b"1", if_absent=True)
    assert not storage.put("c/x", b"2", if_absent=True)
    found = storage.tagged("c/x")
    assert found is not None
    assert storage.swap("c/x", b"3", found[1])
    assert not storage.swap("c/x", b"4", found[1])
    assert storage.get("c/x") == b"3"
    assert not storage.swap("c/x", b"5", None)
    assert not storage.swap("c/none", b"6", found[1])
    assert storage.swap("c/new", b"7", None)


def test_long_listings_come_in_pages(storage: Storage) -> None:
    """More keys than one answer holds are all listed, in order."""
    if storage.__dict__["_client"]._client.__class__ is not MemoryS3:
        pytest.skip("a thousand objects take a real server too long")
    for n in range(1003):
        storage.put(f"many/{n:04}", b"")
    assert [key for key, _ in storage.list("many/")] == [f"many/{n:04}" for n in range(1003)]
