"""Objects in a real S3 server: whole, hashed, and committed once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.errors import IntegrityError, Missing, Unreachable
from contract.settings import Settings
from stores.file_digest import file_sha256
from stores.storage import Storage


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return Storage(settings)


def test_one_of_many_writers_wins_a_conditional_put(storage: Storage) -> None:
    """Eight simultaneous commits of one key: one True, and the object is that one's."""
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: storage.put("race", str(n).encode(), if_absent=True), range(8)))
    assert won.count(True) == 1
    assert storage.get("race") == str(won.index(True)).encode()


def test_a_file_in_parts_comes_back_whole(storage: Storage, tmp_path: Path) -> None:
    """A file larger than one part is uploaded, read back and read in ranges with the same bytes."""
    data = np.random.default_rng(1).bytes((40 << 20) + 17)
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(data)
    sha256 = storage.put_file("large", source)
    assert sha256 == file_sha256(source) == storage.get_file("large", back)
    assert back.read_bytes() == data
    storage.verify("large", sha256)
    with storage.open("large") as stream:
        stream.seek(-100, 2)
        assert stream.read() == data[-100:]
        stream.seek((4 << 20) - 3)
        assert stream.read(10) == data[(4 << 20) - 3 : (4 << 20) + 7]


def test_an_object_that_is_not_what_was_written_is_named(storage: Storage, tmp_path: Path) -> None:
    """Bytes that differ from the recorded hash raise IntegrityError with the object's key, by every way of reading."""
    storage._client.put_object(Bucket=storage.bucket, Key="flipped", Body=b"x", Metadata={"sha256": "0" * 64})
    with pytest.raises(IntegrityError, match="object flipped"):
        storage.get("flipped")
    with pytest.raises(IntegrityError, match="object flipped"):
        storage.get_file("flipped", tmp_path / "out")
    storage.put("replaced", b"y")
    with pytest.raises(IntegrityError, match="replaced"):
        storage.verify("replaced", "1" * 64)


def test_listing_and_removing(storage: Storage) -> None:
    """Listing goes past one page in key order; removing what is absent is no error."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: storage.put(f"many/{n:04}/x", b""), range(1100)))
    assert [key for key, _ in storage.list("many/")] == [f"many/{n:04}/x" for n in range(1100)]
    assert len(list(storage.folders("many/"))) == 1100
    storage.delete("many/0000/x")
    storage.delete("many/0000/x")
    assert not storage.exists("many/0000/x")
    assert storage.find("many/0000/x") is None
    with pytest.raises(Missing, match="many/0000/x is not in bucket"):
        storage.get("many/0000/x")


def test_no_s3_and_wrong_keys_are_one_sentence(settings: Settings) -> None:
    """A dead endpoint and wrong credentials are Unreachable, and the sentence names the setting to check."""
    with pytest.raises(Unreachable, match="RESPOOL_S3_ENDPOINT"):
        Storage(replace(settings, s3_endpoint="http://127.0.0.1:1", connect_timeout_s=0.3)).ensure_bucket()
    with pytest.raises(Unreachable, match="RESPOOL_S3_SECRET_KEY"):
        Storage(replace(settings, s3_secret_key="wrong")).ensure_bucket()
