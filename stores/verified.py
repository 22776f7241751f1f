"""Objects fetched and held against the SHA-256 that is on record for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from contract import keys
from contract.errors import BadInput, IntegrityError, Missing, RespoolError
from contract.job import Item, Output
from stores.object_store import ObjectStore


def fetch_verified(
    storage: ObjectStore, key: str, path: Path, sha256: str, refusal: Callable[[str], RespoolError]
) -> Path:
    """Fetch `key` to `path` and return it; for bytes other than `sha256`, remove the file and raise `refusal(found)`.

    Raises besides what `Storage.get_file` raises.
    """
    found = storage.get_file(key, path)
    if found != sha256:
        path.unlink()
        raise refusal(found)
    return path


def fetch_source(storage: ObjectStore, job: str, item: Item, path: Path) -> Path:
    """Fetch the source of `item`; raise BadInput when it is gone, or has other bytes than were submitted."""

    def refusal(found: str) -> RespoolError:
        return BadInput(f"the stored source has SHA-256 {found}, not {item.sha256} as submitted; submit it again.")

    try:
        return fetch_verified(storage, keys.source(job, item.n), path, item.sha256, refusal)
    except Missing as error:
        raise BadInput(
            f"its source is no longer in the store; submit the same files with the same options, then `respool retry {job}`."
        ) from error


def fetch_output(storage: ObjectStore, output: Output, path: Path, job: str) -> Path:
    """Fetch what a commit of `job` names; raise IntegrityError when it is not the committed bytes, Missing when it is gone."""

    def refusal(found: str) -> RespoolError:
        return IntegrityError(
            f"object {output.key} has SHA-256 {found}, but was committed with {output.sha256}; retry the job."
        )

    try:
        return fetch_verified(storage, output.key, path, output.sha256, refusal)
    except Missing as error:
        raise Missing(f"{error} A commit names it; `respool retry {job}` makes it again.") from error


def fetch_result(storage: ObjectStore, key: str, name: str, sha256: str, path: Path) -> Path:
    """Fetch the finished result `name` from `key`; raise IntegrityError when it is not the recorded bytes."""

    def refusal(found: str) -> RespoolError:
        return IntegrityError(f"result {name} has SHA-256 {found}, but was finished with {sha256}; retry the job.")

    return fetch_verified(storage, key, path, sha256, refusal)
