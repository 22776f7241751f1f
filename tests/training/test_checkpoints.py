"""Checkpoints: one conditional PUT makes them, a second writer loses, damaged ones are passed over."""

from __future__ import annotations

import pytest

from contract.errors import IntegrityError, LeaseLost
from contract.settings import Settings
from contract.training import Best, Commit
from stores.storage import Storage
from training.checkpoints import Checkpoints


def write(checkpoints: Checkpoints, number: int, attempt: str, best: Best | None = None) -> Commit:
    state = checkpoints.put(number, "state", f"state {number} of {attempt}".encode())
    pool = checkpoints.put(number, "pool-0", b"pool")
    commit = Commit(number, number * 10, attempt, state, (pool,), best)
    checkpoints.commit(commit)
    return commit


def test_a_checkpoint_counts_only_once_it_is_committed(settings: Settings) -> None:
    """Objects without a commit are no checkpoint; with one they are, whole."""
    checkpoints = Checkpoints(Storage(settings), "a" * 16, "0000000a")
    checkpoints.put(0, "state", b"lost")
    assert checkpoints.newest() is None
    assert checkpoints.load() is None
    write(checkpoints, 0, "0000000a")
    loaded = checkpoints.load()
    assert loaded
    assert (loaded.state, loaded.pools) == (b"state 0 of 0000000a", [b"pool"])


def test_the_second_writer_of_a_number_loses(settings: Settings) -> None:
    """A process that was thought dead and comes back cannot overwrite what its successor has committed."""
    storage = Storage(settings)
    old, new = Checkpoints(storage, "b" * 16, "0000000a"), Checkpoints(storage, "b" * 16, "0000000b")
    write(old, 0, "0000000a")
    write(new, 1, "0000000b")
    with pytest.raises(LeaseLost, match="0000000b"):
        write(old, 1, "0000000a")
    loaded = new.load()
    assert loaded
    assert loaded.state == b"state 1 of 0000000b"


def test_a_repeated_request_is_no_loss(settings: Settings) -> None:
    """The network may repeat the PUT of a commit: the same commit again is accepted."""
    checkpoints = Checkpoints(Storage(settings), "c" * 16, "0000000a")
    checkpoints.commit(write(checkpoints, 0, "0000000a"))


def test_a_damaged_checkpoint_is_passed_over_and_named(settings: Settings) -> None:
    """When the newest checkpoint's bytes are not those that were committed, the one before is taken, with a note."""
    storage = Storage(settings)
    checkpoints = Checkpoints(storage, "d" * 16, "0000000a")
    write(checkpoints, 0, "0000000a")
    newest = write(checkpoints, 1, "0000000a")
    storage.put(newest.state.key, b"other bytes")
    loaded = checkpoints.load()
    assert loaded
    assert loaded.commit.number == 0
    assert "checkpoint 1" in loaded.notes[0]
    storage.delete(loaded.commit.state.key)
    with pytest.raises(IntegrityError, match="no checkpoint"):
        checkpoints.load()


def test_old_objects_go_and_the_best_generator_stays(settings: Settings) -> None:
    """Two checkpoints are kept, and the best generator as long as it is the best."""
    storage = Storage(settings)
    checkpoints = Checkpoints(storage, "e" * 16, "0000000a")
    best = Best(0, 30.0, checkpoints.put(0, "best", b"best"))
    for number in range(4):
        write(checkpoints, number, "0000000a", best)
    keys = {key.rpartition("checkpoints/")[2] for key, _ in storage.list("train/" + "e" * 16 + "/checkpoints/")}
    assert keys == {"0-0000000a/best", *(f"{n}-0000000a/{part}" for n in (2, 3) for part in ("state", "pool-0"))}
