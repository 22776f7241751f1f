"""Checkpoints in the store: objects under names of their own, then one conditional PUT that makes them the checkpoint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from contract import keys
from contract.errors import IntegrityError, LeaseLost, StorageError
from contract.training import Best, Commit, Part
from stores.storage import Storage


@dataclass(frozen=True)
class Loaded:
    """A committed checkpoint: its commit, the shared state, the pools by slot, and what was wrong with newer ones."""

    commit: Commit
    state: bytes
    pools: list[bytes]
    notes: list[str]


class Checkpoints:
    """The checkpoints of one run, as the process group `attempt` (8 hex digits) sees them."""

    def __init__(self, storage: Storage, run: str, attempt: str) -> None:
        self._storage, self._run, self._attempt = storage, run, attempt

    def put(self, number: int, name: str, data: bytes) -> Part:
        """Store one object of checkpoint `number`; it counts for nothing until it is committed."""
        key = keys.checkpoint(self._run, number, self._attempt, name)
        self._storage.put(key, data)
        return Part(key, hashlib.sha256(data).hexdigest())

    def commit(self, commit: Commit) -> None:
        """Make a checkpoint the newest; raise LeaseLost when another process group has written one of this number."""
        key = keys.commit(self._run, commit.number)
        if not self._storage.put(key, msgspec.json.encode(commit), if_absent=True):
            other = msgspec.json.decode(self._storage.get(key), type=Commit)
            if other != commit:  # else it is ours, and the network repeated the request
                raise LeaseLost(
                    f"run {self._run} is trained by another process (attempt {other.attempt}), which has committed "
                    f"checkpoint {other.number}; this one ends."
                )
        self._sweep(commit)

    def newest(self) -> Commit | None:
        """Return the newest commit, or None before the first."""
        found = list(self._storage.list(keys.commits_prefix(self._run)))
        return msgspec.json.decode(self._storage.get(found[-1][0]), type=Commit) if found else None

    def load(self, number: int | None = None) -> Loaded | None:
        """Read the newest checkpoint whose bytes are whole (or `number`); None when there is none.

        A damaged one is passed over with a note. Raises IntegrityError when all are damaged.
        """
        found = [key for key, _ in self._storage.list(keys.commits_prefix(self._run))]
        if number is not None:
            found = [key for key in found if key == keys.commit(self._run, number)]
        notes: list[str] = []
        for key in reversed(found):
            commit = msgspec.json.decode(self._storage.get(key), type=Commit)
            try:
                return Loaded(commit, self.read(commit.state), [self.read(part) for part in commit.pools], notes)
            except (IntegrityError, StorageError) as error:
                notes.append(
                    f"checkpoint {commit.number} at step {commit.step} is damaged and was passed over: {error}"
                )
        if notes:
            raise IntegrityError(f"no checkpoint of run {self._run} can be read: {notes[0]}")
        return None

    def read(self, part: Part) -> bytes:
        """Read an object of a checkpoint; raise IntegrityError when its bytes are not those that were committed."""
        data = self._storage.get(part.key)
        found = hashlib.sha256(data).hexdigest()
        if found != part.sha256:
            raise IntegrityError(f"object {part.key} has SHA-256 {found}, but {part.sha256} was committed.")
        return data

    def _sweep(self, commit: Commit) -> None:
        """Remove objects that neither the two newest checkpoints nor the best generator need; the commits stay."""
        best = commit.best.part.key if commit.best else ""
        prefix = keys.train_prefix(self._run) + "checkpoints/"
        for key, _ in self._storage.list(prefix):
            number = int(key.removeprefix(prefix).partition("-")[0])
            if number < commit.number - 1 and key != best:
                self._storage.delete(key)


def best_of(commit: Commit) -> Best:
    """Return the best generator of a finished run; raise IntegrityError when the run never validated."""
    if commit.best is None:
        raise IntegrityError(f"checkpoint {commit.number} names no best generator; resume the run.")
    return commit.best
