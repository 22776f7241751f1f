"""The verdict on a trial: what the user has at its end, held against the sources."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection
from pathlib import Path

import av
import msgspec

from contract import keys
from contract.errors import UsageError
from contract.job import Done
from testkit.call_faults import Mode
from testkit.trial import Trial

_SERVICES: tuple[Mode, ...] = ("before", "after", "repeated", "outage")
"""Faults of Redis and S3, which cost no chunk a try."""


def pictures(data: bytes) -> list[str]:
    """Return the SHA-256 of each picture of a film."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return [hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest() for frame in container.decode(stream)]


def judge(
    trial: Trial,
    sources: dict[str, Path],
    state: str = "done",
    lost: Collection[str] = frozenset(),
    killed: bool = False,
) -> list[str]:
    """Return what is wrong at the end of a trial.

    Args:
        trial: what happened.
        sources: the films, by the names of their results.
        state: how the job is to have ended.
        lost: objects that the store lost, of which a done job has no more need.
        killed: a process was killed as well, whose leases ran out; such a try is counted.
    """
    wrong = []
    manifest = trial.manifest()
    if manifest is None or manifest.state != state:
        return [
            f"the job ended {manifest.state if manifest else 'without a manifest'}: {manifest and manifest.failures}"
        ]
    for name, path in sources.items():
        keys_of = [file.key for file in manifest.files if file.name == name]
        result = trial.storage.find(keys_of[0]) if keys_of else None
        if result is None:
            wrong.append(f"{name} is not delivered" if not keys_of else f"{name} is gone from the store")
        elif pictures(result) != pictures(path.read_bytes()):
            wrong.append(f"{name} has other pictures than its source")
    return wrong + _objects(trial, lost, killed) + _afterwards(trial)


def _objects(trial: Trial, lost: Collection[str], killed: bool) -> list[str]:
    """Return commits whose objects are gone, tries that servers cost, and objects that no commit names."""
    there = dict(trial.storage.list(keys.job_prefix(trial.job)))
    known = there.keys() | set(lost)
    named: set[str] = set()
    wrong = []
    for key in there:
        if key.endswith("/done.json"):
            done = msgspec.json.decode(trial.storage.get(key), type=Done)
            named |= {output.key for output in done.outputs}
            wrong += [f"{key} names {output.key}, which is gone" for output in done.outputs if output.key not in known]
    if trial.calls.fired and trial.calls.mode in _SERVICES and not killed:
        reasons = [reason for key in there if key.endswith("/done.json") for reason in _reasons(trial.storage.get(key))]
        wrong += [f"counted, though a server failed: {reason}" for reason in reasons if "lease ran out" in reason]
    strays = [key for key in there if "/attempt-" in key and key not in named]
    return wrong + [f"{key} is left of a dead attempt" for key in strays]


def _reasons(commit: bytes) -> list[str]:
    """Return why earlier attempts at a chunk ended."""
    found: list[str] = msgspec.json.decode(msgspec.json.decode(commit, type=Done).record["attempts"])
    return found


def _afterwards(trial: Trial) -> list[str]:
    """Return what is wrong with a done job: its status, what Redis keeps of it, or that there is something to retry."""
    wrong = []
    jobs = trial._cluster.jobs
    status = jobs.status(trial.job)
    if status.state != "done":
        wrong.append(f"its status is {status.state}")
    left = [
        name for name in trial._redis.scan_iter(match=f"respool:{{{trial.job}}}*") if not str(name).endswith(":kills")
    ]
    wrong += [f"Redis keeps {name}" for name in left]
    try:
        jobs.retry(trial.job)
        wrong.append("a job that is done was opened again")
    except UsageError:
        pass
    return wrong
