"""A store and a Redis with what commit 14e2eb9 left behind, used through the command line alone.

Nothing of Respool's own is imported but the settings: what is tested is what outlives every module's name.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
import boto3
import pytest
from redis import Redis

from contract.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Respool = Callable[..., subprocess.CompletedProcess[str]]
FIXTURES = Path(__file__).parents[2] / "fixtures" / "before_rooms"
_PATIENCE_S = 240.0
"""Only a failure waits so long."""
_SECONDS, _MILLISECONDS = 1e9, 1e12
"""Scores above these are points in time; the others are chunk numbers and priorities."""
_buckets = itertools.count()


class Before:
    """Objects and keys that an older commit left, and a fresh bucket and database to load them into."""

    def __init__(self, settings: Settings, folder: Path, call: Respool) -> None:
        self._settings, self._folder, self._call = settings, folder, call
        self.jobs: dict[str, str] = json.loads((FIXTURES / "jobs.json").read_text())
        self.delivered, self.bag = FIXTURES / "delivered", FIXTURES / "bag"
        self.redis = Redis.from_url(settings.redis_url, encoding="latin-1", decode_responses=True)
        self._s3: S3Client = boto3.session.Session(settings.s3_access_key, settings.s3_secret_key).client(
            "s3", endpoint_url=settings.s3_endpoint, region_name=settings.s3_region
        )
        self._s3.create_bucket(Bucket=settings.s3_bucket)

    def printed(self, name: str) -> Any:
        """Return what a command of the older commit printed with --json."""
        return json.loads((FIXTURES / "said" / f"{name}.json").read_text())

    def options(self, name: str) -> list[str]:
        """Return the options that job `name` was submitted with."""
        return cast(list[str], json.loads((FIXTURES / "options.json").read_text())[name])

    def kept(self, name: str) -> dict[str, bytes]:
        """Return the objects of job `name` as the older commit wrote them, by their key below the job's prefix."""
        prefix = FIXTURES / "objects" / "jobs" / self.jobs[name]
        return {str(path.relative_to(prefix)): path.read_bytes() for path in prefix.rglob("*") if path.is_file()}

    def at_hand(self) -> tuple[int, str, str]:
        """Return chunk, attempt and worker of the interrupted job's only lease."""
        dump = json.loads((FIXTURES / "redis.json").read_text())["keys"]
        ((chunk, holder),) = dump[f"respool:{{{self.jobs['interrupted']}}}:holders"]["value"].items()
        attempt, worker = holder.split()
        return int(chunk), attempt, worker

    def load(self, *names: str) -> None:
        """Put the objects of these jobs into the bucket; their only metadata is the SHA-256 of the bytes."""
        for name in names:
            for key, body in self.kept(name).items():
                metadata = {"sha256": hashlib.sha256(body).hexdigest()}
                self._s3.put_object(
                    Bucket=self._settings.s3_bucket, Key=self._key(name, key), Body=body, Metadata=metadata
                )

    def load_redis(self, age_s: float) -> None:
        """Fill the database as it was when the older processes were suspended, `age_s` seconds ago.

        A negative age makes every lease and heartbeat last that much longer.
        """
        dump = json.loads((FIXTURES / "redis.json").read_text())
        later = self.redis.time()[0] - age_s - dump["taken_s"]
        for key, found in dump["keys"].items():
            value = found["value"]
            match found["type"]:
                case "string":
                    self.redis.set(key, value)
                case "list":
                    self.redis.rpush(key, *value)
                case "set":
                    self.redis.sadd(key, *value)
                case "hash":
                    self.redis.hset(key, mapping=value)
                case "zset":
                    self.redis.zadd(key, {member: _moved(score, later) for member, score in value})
            if found["ttl_ms"] is not None:
                self.redis.pexpire(key, found["ttl_ms"])

    def get(self, name: str, key: str) -> bytes | None:
        """Return an object of job `name` as it is now; None while there is none."""
        try:
            return self._s3.get_object(Bucket=self._settings.s3_bucket, Key=self._key(name, key))["Body"].read()
        except self._s3.exceptions.NoSuchKey:
            return None

    def delete(self, name: str, key: str) -> None:
        """Remove an object of job `name`."""
        self._s3.delete_object(Bucket=self._settings.s3_bucket, Key=self._key(name, key))

    def source(self, name: str, item: int, path: Path) -> Path:
        """Write a source of job `name` to `path`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(FIXTURES / "objects" / self._key(name, f"items/{item}/source"), path)
        return path

    def _key(self, name: str, key: str) -> str:
        return f"jobs/{self.jobs[name]}/{key}"

    def respool(self, *words: object, code: int = 0) -> str:
        """Run a command of today's on the store and the database; return what it printed."""
        done = self._call(*words)
        assert done.returncode == code, f"{words} gave {done.returncode}, not {code}:\n{done.stdout}{done.stderr}"
        return done.stdout if code == 0 else done.stdout + done.stderr

    @contextmanager
    def running(self, *roles: str) -> Iterator[Callable[[], str]]:
        """Run an orchestrator, a worker or both of today's; yields a function that returns their log."""
        log = self._folder / "processes.log"
        processes = []
        try:
            with log.open("wb") as out:
                for role in roles:
                    command = [sys.executable, "-m", "orchestrator.cli.main", role]
                    processes.append(subprocess.Popen(command, stdout=out, stderr=out))
                yield lambda: log.read_text(errors="replace")
        except BaseException:
            print(log.read_text(errors="replace")[-6000:])  # pytest shows it when a test failed
            raise
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(60)

    @property
    def environment(self) -> dict[str, str]:
        """RESPOOL_* variables for a process that clears its own."""
        return self._settings.environment()

    def close(self) -> None:
        self.redis.close()
        self._s3.close()


def _moved(score: float, seconds: float) -> float:
    if score > _MILLISECONDS:
        return score + seconds * 1000
    return score + seconds if score > _SECONDS else score


@pytest.fixture
def before(
    settings: Settings, tmp_path: Path, respool_here: Respool, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Before]:
    """An empty bucket and an empty database, named by RESPOOL_*, and what may be loaded into them."""
    with Redis.from_url(settings.redis_url) as client:
        client.flushdb()
    wired = replace(
        settings,
        s3_bucket=f"{settings.s3_bucket}-before-{next(_buckets)}",
        cache=tmp_path / "cache",
        preload=False,
        device="cpu",
    )
    for name, value in wired.environment().items():
        monkeypatch.setenv(name, value)
    found = Before(wired, tmp_path, respool_here)
    yield found
    found.close()


@pytest.fixture
def until() -> Callable[[Callable[[], object], str], None]:
    """Return a function that waits until a condition holds, and fails naming it otherwise."""

    def wait(look: Callable[[], object], what: str) -> None:
        deadline, pause = time.monotonic() + _PATIENCE_S, threading.Event()
        while not look():
            assert time.monotonic() < deadline, f"waited {_PATIENCE_S:.0f} s for {what}"
            pause.wait(0.05)

    return wait


@pytest.fixture
def frames() -> Callable[[Path], list[tuple[float, str]]]:
    """Return a function that lists (seconds, SHA-256 of the picture) of a film's frames."""

    def read(path: Path) -> list[tuple[float, str]]:
        with av.open(str(path)) as film:
            film.streams.video[0].codec_context.thread_count = 1
            found = [(frame.time, frame.to_ndarray()) for frame in film.decode(video=0)]
        return [(round(at or 0.0, 3), hashlib.sha256(picture.tobytes()).hexdigest()) for at, picture in found]

    return read
