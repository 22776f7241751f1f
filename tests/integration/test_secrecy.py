"""Secrets stay where they belong, and messages that are not ours do no harm: searched and tried on a whole cluster."""

from __future__ import annotations

import json
import os
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from kombu import Connection, Producer
from PIL import Image
from redis import Redis

from contract import keys
from contract.documents import KNOWN
from contract.errors import RespoolError
from contract.job import Spec
from contract.settings import Settings
from contract.submitter import user_name
from contract.tasks import ENHANCE, QUEUE, from_message
from orchestrator.jobs.client import Jobs
from orchestrator.local import Cluster, start
from orchestrator.submission.submit import submit
from stores import addresses
from stores.storage import Storage
from testkit.processes import until

_PLACES = {"credentials.json", "redis.conf", "s3.json", "security.toml"}
"""Files whose purpose is to hold a secret; all of mode 0600."""


@pytest.fixture(scope="module")
def watched() -> Iterator[Cluster]:
    """A cluster with a worker and Flower, whose every word is looked at."""
    with (
        tempfile.TemporaryDirectory(prefix="respool-test-", ignore_cleanup_errors=True) as folder,
        start(Settings(state=Path(folder) / "s", device="cpu", log_format="json"), workers=1, flower=True) as cluster,
    ):
        yield cluster


def restore(cluster: Cluster, folder: Path, shade: int) -> str:
    """A small job, run to its end."""
    source = folder / f"{shade}.png"
    Image.new("RGB", (48, 32), (shade, 0, 0)).save(source)
    job = submit([source], Spec(model="lanczos", scale=2.0), cluster.settings).job.id
    jobs = Jobs(cluster.settings)
    until(lambda: jobs.status(job).state in ("done", "failed"), f"job {job}")
    assert jobs.status(job).state == "done", jobs.status(job).failures
    return job


def everything_in_redis(url: str) -> Iterator[bytes]:
    """Every name and every value, as Redis would write them to disk, uncompressed."""
    with Redis.from_url(url) as client:
        client.config_set("rdbcompression", "no")
        for name in client.scan_iter(count=1000):
            yield name + cast(bytes, client.dump(name) or b"")


def test_secrets_are_nowhere_but_in_their_places(watched: Cluster, tmp_path: Path) -> None:
    """After a job no log, process list, Redis value, S3 object, status or settings' own words hold a password or key."""
    job = restore(watched, tmp_path, 10)
    known = watched.credentials
    password = addresses.parse(known.redis_url).password
    secrets = [s.encode() for s in (password, known.s3_secret_key, known.flower_password) if s]
    assert len(secrets) == 3
    assert all(len(secret) >= 12 for secret in secrets)

    def clean(what: str, body: bytes) -> None:
        assert not [secret for secret in secrets if secret in body], what

    logs = list(watched.folder.logs.iterdir())
    assert {"orchestrator.log", "worker-0.log", "flower.log"} <= {log.name for log in logs}
    assert any(job.encode() in log.read_bytes() for log in logs), "the logs do not tell of the job"
    for log in logs:
        clean(log.name, log.read_bytes())
    for path in watched.folder.path.iterdir():
        if path.is_file() and path.name not in _PLACES:
            clean(path.name, path.read_bytes())
    for name in _PLACES:
        (place,) = watched.folder.path.rglob(name)
        assert place.stat().st_mode & 0o077 == 0, name
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            clean(str(command), command.read_bytes())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    for value in everything_in_redis(known.redis_url):
        clean("Redis", value)
    storage = Storage(watched.settings)
    objects = [key for key, _ in storage.list("")]
    assert keys.manifest(job) in objects
    for key in objects:
        clean(key, storage.get(key) + key.encode())
    clean("settings", repr(watched.settings).encode())
    clean("status", str(Jobs(watched.settings).status(job)).encode())


FORGED: list[tuple[str, object]] = [
    ("a path for a job", {"job": "../../../../etc", "chunk": 0, "version": 1}),
    ("a job that is not there", {"job": "f" * 16, "chunk": 0, "version": 1}),
    ("a negative chunk", {"job": "f" * 16, "chunk": -1, "version": 1}),
    ("a huge chunk", {"job": "f" * 16, "chunk": 10**30, "version": 1}),
    ("a newer version", {"job": "f" * 16, "chunk": 0, "version": max(KNOWN) + 1}),
    ("a field of somebody's own", {"job": "f" * 16, "chunk": 0, "version": 1, "endpoint": "http://evil.example"}),
    ("a text for a number", {"job": "f" * 16, "chunk": "0", "version": 1}),
    ("no object at all", ["rm", "-rf"]),
    ("ten megabytes", {"job": "f" * 16, "chunk": 0, "version": 1, "x": "y" * 10_000_000}),
    ("nothing", None),
]


@pytest.mark.parametrize(("what", "message"), FORGED, ids=[what for what, _ in FORGED])
def test_a_forged_message_is_refused_before_anything_is_looked_up(what: str, message: object) -> None:
    """A malformed message is refused in one sentence of readable length; only a well-formed one reaches the ledger."""
    if what == "a job that is not there":
        assert from_message(message).chunk == 0
        return
    with pytest.raises(RespoolError) as refused:
        from_message(message)
    assert len(str(refused.value)) < 500


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_forged_messages_in_the_broker_do_no_harm(watched: Cluster, tmp_path: Path) -> None:
    """Pickles are not opened, strange tasks and messages end nobody, nothing is written, and the next job is done."""
    storage = Storage(watched.settings)
    before = {key for key, _ in storage.list("")}
    headers = {"lang": "py", "task": ENHANCE, "root_id": "x", "parent_id": None, "group": None}
    with Connection(watched.settings.redis_url) as connection:
        producer = Producer(connection.default_channel, routing_key=QUEUE)

        def send(body: object, n: str, **options: Any) -> None:
            producer.publish(
                body, headers={**headers, "id": n, **options.pop("headers", {})}, correlation_id=n, **options
            )

        for n, (_, message) in enumerate(FORGED):
            send(
                json.dumps([[message], {}, {}]),
                f"forged-{n}",
                content_type="application/json",
                content_encoding="utf-8",
            )
        pickled = pickle.dumps([[Bomb(tmp_path / "exploded")], {}, {}])
        send(pickled, "pickle", content_type="application/x-python-serialize", content_encoding="binary")
        send("{not json", "broken", content_type="application/json", content_encoding="utf-8")
        message = {"job": "0" * 16, "chunk": 0, "version": 1}
        for n, believed in enumerate(({"timelimit": ["a", "b"]}, {"eta": "2999-01-01T00:00:00"}, {"expires": "never"})):
            send(
                json.dumps([[message], {}, {}]),
                f"believed-{n}",
                headers=believed,
                content_type="application/json",
                content_encoding="utf-8",
            )
        send(json.dumps([["x" * (8 << 20)], {}, {}]), "huge", content_type="application/json", content_encoding="utf-8")
        for task in ("os.system", "celery.backend_cleanup", "respool.unknown"):
            send(
                json.dumps([["true"], {}, {}]),
                task,
                headers={"task": task},
                content_type="application/json",
                content_encoding="utf-8",
            )
    workers = [process.pid for process in watched.processes if process.role == "worker"]
    job = restore(watched, tmp_path, 20)
    assert not (tmp_path / "exploded").exists()
    own = {key for key, _ in storage.list(keys.job_prefix(job))} | {keys.submission(user_name(), job)}
    assert {key for key, _ in storage.list("")} - before == own, (
        "something was written outside the job's prefix and its submitter's mark"
    )
    assert [process.pid for process in watched.processes if process.role == "worker"] == workers, "the worker died"
