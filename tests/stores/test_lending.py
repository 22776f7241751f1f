"""Requests of the process that parses media to the store: its own job's objects, by the rights of its act, and no more."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from contract import keys
from contract.errors import Interrupted, LeaseLost, Missing, PermanentError, UsageError
from contract.settings import Settings
from stores.lending.broker import Broker
from stores.lending.client import BorrowedStore
from stores.lending.rights import Act, Rights
from stores.lending.wire import Question, send
from stores.object_store import ABSENT_ONLY
from stores.storage import Storage

JOB, OTHER = "00000000000000b1", "00000000000000b2"
RUN = b"packets"
SHA256 = hashlib.sha256(RUN).hexdigest()
ATTEMPT = keys.attempt(JOB, 0, "1-00000000")
RESULT = keys.result_file(JOB, "film.mkv")


@pytest.fixture(scope="module")
def storage(settings: Settings) -> Storage:
    """A bucket with two jobs."""
    store = Storage(settings)
    for job in (JOB, OTHER):
        for key in (keys.job_spec(job), keys.source(job, 0), keys.attempt(job, 0, "1-00000000")):
            store.put(key, b"object of " + job.encode())
    store.put("weights/" + "0" * 64 + ".safetensors", b"weights")
    return store


@pytest.fixture
def borrowed(storage: Storage) -> Iterator[Callable[[Act], BorrowedStore]]:
    """The store as a process sees it that does an act."""
    with ExitStack() as stack:

        def lend(act: Act) -> BorrowedStore:
            own, other = socket.socketpair()
            stack.callback(Broker(other, storage, Rights(act, JOB)).close)
            return stack.enter_context(closing(BorrowedStore(stack.enter_context(own), storage.bucket)))

        yield lend


Lend = Callable[[Act], BorrowedStore]


def test_an_act_has_what_it_needs(borrowed: Lend, storage: Storage, tmp_path: Path) -> None:
    """Each operation through the parent gives what the store itself gives, errors included."""
    ingest, assemble = borrowed("ingest"), borrowed("assemble")
    source = keys.source(JOB, 0)
    assert ingest.get(source) == storage.get(source)
    assert ingest.stat(source) == storage.stat(source)
    assert ingest.open(source).read() == storage.get(source)
    assert ingest.find(keys.plan(JOB)) is None
    assert list(ingest.list(keys.items_prefix(JOB))) == list(storage.list(keys.items_prefix(JOB)))
    assert ingest.put(keys.run(JOB, 0, SHA256), RUN)
    assert ingest.swap(keys.plan(JOB), b"plan", None)
    assert not ingest.swap(keys.plan(JOB), b"other", None)
    assert storage.get(keys.plan(JOB)) == b"plan"
    with pytest.raises(Missing):
        ingest.open(keys.source(JOB, 1))
    with pytest.raises(UsageError, match="may have 4 at most"):
        ingest.find(source, 4)
    large = tmp_path / "large"
    large.write_bytes(os.urandom(17 << 20))  # several parts, several frames
    assert assemble.put_file(RESULT, large) == hashlib.sha256(large.read_bytes()).hexdigest()
    assert assemble.get_file(RESULT, tmp_path / "back") == hashlib.sha256(large.read_bytes()).hexdigest()
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    assemble.copy(ATTEMPT, keys.result_file(JOB, "copy.png"), 20)
    assemble.delete(ATTEMPT)
    assert not storage.exists(ATTEMPT)


FORBIDDEN: list[tuple[Act, Question]] = [
    ("ingest", Question("tagged", keys.source(OTHER, 0), stop=100)),
    ("ingest", Question("tagged", f"jobs/{JOB}/../{OTHER}/job.json", stop=100)),
    ("ingest", Question("tagged", f"jobs/{JOB}/items/../../{OTHER}/job.json", stop=100)),
    ("ingest", Question("tagged", f"jobs/{JOB}", stop=100)),
    ("ingest", Question("tagged", f"weights/{'0' * 64}.safetensors", stop=100)),
    ("ingest", Question("tagged", ATTEMPT, stop=100)),
    ("ingest", Question("range", keys.source(JOB, 0), start=0, stop=1 << 40)),
    ("ingest", Question("range", keys.source(JOB, 0), start=4, stop=4)),
    ("ingest", Question("list", "jobs/")),
    ("ingest", Question("list", "")),
    ("ingest", Question("list", keys.job_prefix(OTHER))),
    ("ingest", Question("verify", keys.source(OTHER, 0), SHA256)),
    ("ingest", Question("stat", keys.source(OTHER, 0))),
    ("ingest", Question("put", keys.run(JOB, 0, "0" * 64))),
    ("ingest", Question("put", keys.run(OTHER, 0, hashlib.sha256(b"").hexdigest()))),
    ("ingest", Question("put", keys.plan(JOB))),
    ("ingest", Question("put", keys.job_spec(JOB), condition=ABSENT_ONLY)),
    ("ingest", Question("put", keys.source(JOB, 0))),
    ("ingest", Question("put", keys.done(JOB, 0), condition=ABSENT_ONLY)),
    ("ingest", Question("put", keys.manifest(JOB), condition=ABSENT_ONLY)),
    ("ingest", Question("put", RESULT)),
    ("ingest", Question("put_file", RESULT)),
    ("ingest", Question("copy", keys.source(JOB, 0), RESULT, stop=1)),
    ("ingest", Question("delete", keys.source(JOB, 0))),
    ("ingest", Question("delete", ATTEMPT)),
    ("witness", Question("put", keys.plan(JOB), condition=ABSENT_ONLY)),
    ("witness", Question("put", keys.run(JOB, 0, hashlib.sha256(b"").hexdigest()))),
    ("witness", Question("delete", ATTEMPT)),
    ("witness", Question("put", RESULT)),
    ("assemble", Question("put", keys.manifest(JOB))),
    ("assemble", Question("put", keys.plan(JOB), condition=ABSENT_ONLY)),
    ("assemble", Question("put", keys.done(JOB, 0), condition=ABSENT_ONLY)),
    ("assemble", Question("put", keys.result_file(OTHER, "film.mkv"))),
    ("assemble", Question("put_file", keys.source(JOB, 0))),
    ("assemble", Question("copy", keys.source(OTHER, 0), RESULT, stop=1)),
    ("assemble", Question("copy", keys.source(JOB, 0), RESULT, stop=1)),
    ("assemble", Question("copy", ATTEMPT, keys.job_spec(JOB), stop=1)),
    ("assemble", Question("delete", keys.done(JOB, 0))),
    ("assemble", Question("delete", keys.source(JOB, 0))),
    ("assemble", Question("delete", RESULT)),
]


@pytest.mark.parametrize(("act", "question"), FORBIDDEN)
def test_what_an_act_does_not_need_is_refused(
    borrowed: Lend, storage: Storage, act: Act, question: Question, caplog: pytest.LogCaptureFixture
) -> None:
    """Each such question is refused, logged with its job, and changes nothing."""
    before = list(storage.list(""))
    with pytest.raises(PermanentError, match=r"does not need|it asked for bytes"):
        borrowed(act)._ask(question)
    assert list(storage.list("")) == before
    (record,) = [record for record in caplog.records if "refused" in record.message]
    assert record.__dict__["job"] == JOB


def test_only_files_that_the_process_may_open_pass(borrowed: Lend, storage: Storage, tmp_path: Path) -> None:
    """A file opened by name only, for the other direction, or no file at all makes the parent neither read nor write anything."""
    secret, pipe = tmp_path / "secret", os.pipe()
    secret.write_bytes(b"secret")
    assemble = borrowed("assemble")
    flags = {"put_file": (os.O_PATH, os.O_WRONLY), "get_file": (os.O_PATH, os.O_RDONLY)}
    for op, kinds in flags.items():
        question = Question("put_file", RESULT + op) if op == "put_file" else Question("get_file", keys.source(JOB, 0))
        for file in [*(os.open(secret, kind) for kind in kinds), *pipe, os.open(tmp_path, os.O_RDONLY)]:
            with pytest.raises(PermanentError, match="it sent"):
                assemble._ask(question, file=file)
            if file not in pipe:
                os.close(file)
        with pytest.raises(PermanentError, match="it sent no regular file"):
            assemble._ask(question)
    for end in pipe:
        os.close(end)
    assert secret.read_bytes() == b"secret"
    assert not storage.exists(RESULT + "put_file")


@pytest.mark.parametrize(
    "sent", [b"\xff\xff\xff\xff", b"\0\0\0\2{]", b"\0\0\0\2{}", b'\0\0\0\x1f{"op":"tagged","key":"a","x":1}']
)
def test_what_is_no_question_ends_its_channel_alone(borrowed: Lend, sent: bytes) -> None:
    """Bytes that are no frame cost the channel they came by; others are answered."""
    ingest = borrowed("ingest")
    channel = ingest._channel()
    channel.sendall(sent)
    assert channel.recv(1) == b""
    channel.close()
    assert ingest.exists(keys.job_spec(JOB))


def test_data_of_any_length_are_not_taken(borrowed: Lend) -> None:
    """A frame that announces more than the largest object is refused before anything of it is held."""
    ingest = borrowed("ingest")
    channel = ingest._channel()
    send(channel, Question("put", keys.plan(JOB), data=1 << 40))
    assert channel.recv(1) == b""
    channel.close()


def test_without_its_parent_a_process_ends(storage: Storage) -> None:
    """When the parent has closed its end, each question raises Interrupted: nothing waits for ever."""
    own, other = socket.socketpair()
    broker = Broker(other, storage, Rights("ingest", JOB))
    store = BorrowedStore(own, storage.bucket)
    assert store.exists(keys.job_spec(JOB))
    broker.close()
    with own, closing(store), pytest.raises(Interrupted):
        store.get(keys.job_spec(JOB))


def test_nothing_changes_once_another_took_over(storage: Storage, tmp_path: Path) -> None:
    """When the guard raises, right before a change, the process hears of it and the store stays as it was; it reads on."""

    def guard() -> None:
        raise LeaseLost("Another orchestrator took over.")

    own, other = socket.socketpair()
    broker = Broker(other, storage, Rights("assemble", JOB), guard)
    storage.put(RESULT, b"the other's")
    (tmp_path / "late").write_bytes(b"late")
    before = list(storage.list(""))
    with own, closing(BorrowedStore(own, storage.bucket)) as store:
        for change in (
            lambda: store.put_file(RESULT, tmp_path / "late"),
            lambda: store.put(keys.records(JOB), b"late"),
            lambda: store.put(keys.manifest(JOB), b"late", if_absent=True),
            lambda: store.copy(RESULT, keys.result_file(JOB, "late"), 4),
            lambda: store.delete(keys.attempt(JOB, 1, "1-00000000")),
        ):
            with pytest.raises(LeaseLost):
                change()
        assert store.get(RESULT) == b"the other's"
    broker.close()
    assert list(storage.list("")) == before
