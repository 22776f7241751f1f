"""The webhook: a real receiver gets a job's end once, and no receiver can hold up the loop or learn a secret."""

from __future__ import annotations

import itertools
import json
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client import CollectorRegistry

from contract import keys
from contract.errors import TransientError, UsageError
from contract.settings import Settings, load
from orchestrator.service import webhook as module
from orchestrator.service.webhook import Webhook
from stores.ledger import Ledger
from stores.storage import Storage
from testkit.clips import make_film
from testkit.processes import until
from testkit.stepped import Stepped, stepped

_SEEDS = itertools.count(8100)
_PATIENCE_S = 60.0


class Receiver:
    """An HTTP server that keeps what is posted; it answers with `statuses` in turn, then with 204."""

    def __init__(self) -> None:
        self.posts: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self.statuses: list[int] = []
        self.meanwhile: Callable[[], None] = int
        """Call between a post and its answer."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.posts.put((self.path, json.loads(body)))
                receiver.meanwhile()
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hooks/our-secret?key=1"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def sender(settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Webhook]]:
    """Senders as orchestrators that start one after the other have them; they hardly wait between tries."""
    monkeypatch.setattr(module, "_LONGEST_WAIT_S", 0.001)
    made: list[Webhook] = []

    def make() -> Webhook:
        wired = replace(settings, webhook=receiver.url)
        made.append(Webhook(wired, Storage(wired), Ledger(wired)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def outcome(of: Webhook, name: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(of)
    return registry.get_sample_value("respool_webhook_total", {"outcome": name})


def ended(cluster: Stepped, folder: Path) -> str:
    """The id of a job that ran to its end."""
    job = cluster.submit([make_film(folder / "a <b>.mp4", 5, seed=next(_SEEDS))])
    cluster.finish(job)
    return job


def test_a_jobs_end_is_told_once(
    settings: Settings, receiver: Receiver, sender: Callable[[], Webhook], tmp_path: Path
) -> None:
    """Two orchestrators close the job and a third starts: the receiver hears of it once, with state and name and no secret."""
    with stepped(replace(settings, webhook=receiver.url), orchestrators=2) as cluster:
        job = ended(cluster, tmp_path)
        cluster.look(0)
        cluster.look(1)
        path, told = receiver.posts.get(timeout=_PATIENCE_S)
        senders = [service.webhook for service in cluster.services]
        until(lambda: sum(outcome(one, "delivered") or 0 for one in senders) == 1, "the delivery")
        manifest = cluster.records.manifest(job)
        assert manifest is not None
        assert path == "/hooks/our-secret?key=1"
        assert told == {
            "event": "job.ended",
            "job": job,
            "state": "done",
            "name": "a <b>.mp4",
            "items": 1,
            "files": 1,
            "failures": 0,
            "submitted": cluster.records.job(job).created,
            "finished": manifest.finished,
        }
    assert sender()._tell(job) == ""
    assert receiver.posts.empty()


def test_a_receiver_that_fails_is_tried_again(
    cluster: Stepped, receiver: Receiver, sender: Callable[[], Webhook], tmp_path: Path
) -> None:
    """An error and a redirect are no delivery: the same is posted to the same address again, and each try is counted."""
    receiver.statuses = [500, 302]
    one = sender()
    one.ended(ended(cluster, tmp_path))
    posts = [receiver.posts.get(timeout=_PATIENCE_S) for _ in range(3)]
    until(lambda: outcome(one, "delivered") == 1, "the delivery")
    assert outcome(one, "failed_try") == 2
    assert posts[0] == posts[1] == posts[2]


def test_after_the_last_try_the_next_orchestrator_goes_on(
    settings: Settings, cluster: Stepped, receiver: Receiver, sender: Callable[[], Webhook], tmp_path: Path
) -> None:
    """A sender gives up after its tries and leaves no mark; one that starts later tells it."""
    receiver.statuses = [503] * module._TRIES
    job, first = ended(cluster, tmp_path), sender()
    first.ended(job)
    until(lambda: outcome(first, "given_up") == 1, "the end of all tries")
    assert outcome(first, "failed_try") == module._TRIES - 1
    assert not Storage(settings).exists(keys.notified(job))
    assert sender()._tell(job) == "delivered"


def test_a_cancelled_job_has_ended_too(
    cluster: Stepped, receiver: Receiver, sender: Callable[[], Webhook], tmp_path: Path
) -> None:
    """An open job posts nothing; a cancelled one posts once, and again for its next ending after it was opened again."""
    job = cluster.submit([make_film(tmp_path / "a.mp4", 5, seed=next(_SEEDS))])
    assert sender()._tell(job) == ""
    cluster.jobs.control(job, cancelled=True)
    assert [sender()._tell(job), sender()._tell(job)] == ["delivered", ""]
    cluster.jobs.retry(job)
    assert sender()._tell(job) == ""
    cluster.finish(job)
    assert [sender()._tell(job), sender()._tell(job)] == ["delivered", ""]
    states = [receiver.posts.get(timeout=_PATIENCE_S)[1]["state"] for _ in range(2)]
    assert states == ["cancelled", "done"]


def test_old_endings_are_no_news(
    cluster: Stepped, receiver: Receiver, sender: Callable[[], Webhook], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that is set today does not hear of all jobs of the past, and none is looked at twice."""
    monkeypatch.setattr(module, "_OLDEST", timedelta(0))
    job = ended(cluster, tmp_path)
    assert sender()._tell(job) == ""
    monkeypatch.undo()
    assert sender()._tell(job) == ""
    assert receiver.posts.empty()


def test_an_old_cancelled_job_does_not_get_younger(
    settings: Settings, cluster: Stepped, sender: Callable[[], Webhook], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its age for `respool gc` is that of its newest object, so that nothing is written."""
    monkeypatch.setattr(module, "_OLDEST", timedelta(0))
    job = cluster.submit([make_film(tmp_path / "a.mp4", 5, seed=next(_SEEDS))])
    cluster.jobs.control(job, cancelled=True)
    assert sender()._tell(job) == ""
    assert not Storage(settings).exists(keys.notified(job))


def test_a_job_that_is_collected_meanwhile_leaves_no_note(
    settings: Settings, cluster: Stepped, receiver: Receiver, sender: Callable[[], Webhook], tmp_path: Path
) -> None:
    """A note without its job would keep the end of the same job, submitted anew, from being told."""
    job = cluster.submit([make_film(tmp_path / "a.mp4", 5, seed=next(_SEEDS))])
    cluster.jobs.control(job, cancelled=True)
    storage = Storage(settings)
    receiver.meanwhile = lambda: [storage.delete(key) for key, _ in [*storage.list(keys.job_prefix(job))]].clear()
    assert sender()._tell(job) == "delivered"
    assert not storage.exists(keys.notified(job))


def test_what_a_receiver_answers_stays_unsaid(settings: Settings) -> None:
    """A receiver that is no web server may repeat the request, and with it the path; the message names the fault alone."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def repeat() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(connection.recv(1000).replace(b"HTTP", b"WHAT"))

        thread = threading.Thread(target=repeat)
        thread.start()
        wired = replace(settings, webhook=f"http://127.0.0.1:{server.getsockname()[1]}/our-secret")
        with pytest.raises(TransientError, match="BadStatusLine") as refused:
            Webhook(wired, Storage(wired), Ledger(wired))._post(b"{}")
        assert "our-secret" not in str(refused.value)
        thread.join()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("lookup_s", [0.0, 0.8])
def test_a_receiver_that_never_answers_is_cut_off(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, scheme: str, lookup_s: float
) -> None:
    """Bytes that trickle in do not prolong a delivery, also when its time ends before the name is found or in the handshake."""
    monkeypatch.setattr(module, "_WHOLE_S", 0.5)
    lookup = socket.getaddrinfo

    def late(*of: Any, **named: Any) -> Any:
        stop.wait(lookup_s)
        return lookup(*of, **named)

    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle() -> None:
            connection, _ = server.accept()
            with connection:
                try:
                    if scheme == "https":
                        connection.sendall(b"\x16\x03\x03\x3f\xff")  # a record of the handshake, of 16 KB
                    while True:
                        connection.sendall(b"H")
                        stop.wait(0.02)
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        wired = replace(settings, webhook=f"{scheme}://127.0.0.1:{server.getsockname()[1]}/our-secret")
        one = Webhook(wired, Storage(wired), Ledger(wired))
        monkeypatch.setattr(socket, "getaddrinfo", late)
        with pytest.raises(TransientError, match=r"127\.0\.0\.1:\d+ cannot be reached") as refused:
            one._post(b"{}")
        assert "our-secret" not in str(refused.value)
        thread.join()


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "ftp://h/our-secret",
        "our-secret.example.org",
        "https://",
        "https://h:x/",
        "http://h/ our-secret",
        "http://h/our-secret\x7f",
        "https://u:our-secret@h/",
    ],
)
def test_an_address_must_be_http(address: str) -> None:
    """Anything but http and https, and a login in the address, is refused before any work, and not repeated."""
    with pytest.raises(UsageError, match="webhook") as refused:
        load({"RESPOOL_WEBHOOK": address})
    assert "our-secret" not in str(refused.value)


def test_without_an_address_nothing_runs(settings: Settings) -> None:
    """No thread is started and nothing waits."""
    silent = Webhook(settings, Storage(settings), Ledger(settings))
    silent.ended("00000000000000a1")
    assert silent._thread is None
    silent.close()


@pytest.mark.parametrize(("address", "port"), [("https://[::1]/x", 443), ("http://[::1]/x", 80), ("http://h:81/", 81)])
def test_an_address_without_a_port_has_its_schemes(address: str, port: int) -> None:
    """The last part of an IPv6 address is no port."""
    assert module._connection(urlsplit(address)).port == port
