"""A job over every kind of connection that operators use: TLS, Sentinel, RabbitMQ; real servers, a real worker."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from amqp.exceptions import PreconditionFailed
from kombu import Connection, Queue
from PIL import Image
from redis import Redis

from contract.documents import VERSION
from contract.errors import Unreachable
from contract.job import Spec
from contract.programs import Program, command_line
from contract.settings import Settings
from contract.tasks import queue
from orchestrator.jobs.client import Jobs
from orchestrator.local.servers import free_ports, redis
from orchestrator.service.publisher import Publisher
from orchestrator.submission.submit import submit
from stores.addresses import parse
from stores.ledger import Ledger
from testkit.processes import running, until

_RABBITS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "/usr/sbin/rabbitmq-server")
"""Debian's own wrapper in /usr/sbin changes to another user, who may not write here; the program behind it does not."""


def restore(settings: Settings, folder: Path) -> str:
    """Run one image through an orchestrator and a worker that know only `settings`; the state the job ends in."""
    source = folder / "a.png"
    Image.linear_gradient("L").resize((64, 48)).convert("RGB").save(source)
    environ = {**settings.environment(), "RESPOOL_DEVICE": "cpu", "RESPOOL_THREADS": "1"}
    with ExitStack() as stack:
        for name, argv in (
            ("orchestrator", command_line(Program.COMMAND_LINE, "orchestrator")),
            ("worker", command_line(Program.WORKER)),
        ):
            stack.enter_context(running(argv, folder / f"{name}.log", environ))
        job = submit([source], Spec(model="lanczos", scale=2.0), settings).job.id
        jobs = Jobs(settings)
        until(lambda: jobs.status(job).state in ("done", "failed"), f"job {job}; logs in {folder}", 120)
        return jobs.status(job).state


@contextmanager
def tls_door(target: tuple[str, int], certificate: Path, key: Path) -> Iterator[int]:
    """A port that speaks TLS and hands on to `target`, as stunnel does: our side cannot tell it from a TLS server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    loop = asyncio.new_event_loop()
    ready: list[asyncio.Server] = []
    begun = threading.Event()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        with suppress(OSError):
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            inner, outer = await asyncio.open_connection(*target)
            await asyncio.gather(pump(reader, outer), pump(inner, writer))

    async def start() -> None:
        ready.append(await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context))
        begun.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.set_exception_handler(lambda *_: None)  # refused handshakes are what the tests want
        loop.run_until_complete(start())
        loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        ready[0].close()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert begun.wait(10)
    try:
        yield ready[0].sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory, need: Callable[[str], str]) -> Path:
    """A folder with ca.pem, and cert.pem with key.pem for localhost alone."""
    openssl = need("openssl")
    folder = tmp_path_factory.mktemp("tls")

    def call(*args: str) -> None:
        subprocess.run([openssl, *args], cwd=folder, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    call("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test authority")
    call("req", *curve, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    sign = ("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
    call(*sign, "-out", "cert.pem", "-days", "2", "-extfile", "names")
    return folder


@pytest.fixture(scope="module")
def secure(settings: Settings, certificates: Path) -> Iterator[Settings]:
    """The module's settings, with Redis behind TLS."""
    plain = parse(settings.redis_url)
    with tls_door(plain.hosts[0], certificates / "cert.pem", certificates / "key.pem") as port:
        url = f"rediss://:{plain.password}@localhost:{port}/{plain.database}?ssl_ca_certs={certificates / 'ca.pem'}"
        yield replace(settings, redis_url=url)


def test_a_job_runs_over_tls(secure: Settings, tmp_path: Path) -> None:
    """Ledger and broker over TLS, with the certificate checked: the job is done."""
    assert restore(secure, tmp_path) == "done"


def test_a_certificate_nobody_vouches_for_is_refused(secure: Settings) -> None:
    """Without our authority, or under a name that the certificate does not have, neither ledger nor broker connects."""
    for url in (secure.redis_url.partition("?")[0], secure.redis_url.replace("localhost", "127.0.0.1")):
        wrong = replace(secure, redis_url=url)
        with pytest.raises(Unreachable):
            Ledger(wrong).ping()
        with pytest.raises(Unreachable) as refused:
            Publisher(wrong).waiting()
        assert str(parse(url).password) not in str(refused.value)


def test_the_ledger_follows_the_sentinels_to_a_new_master(settings: Settings, tmp_path: Path) -> None:
    """A master that dies is replaced; ledger and broker go on with what was written, without being told."""
    folders = [tmp_path / name for name in ("one", "two", "watch")]
    one, two = (redis(folder, "pw") for folder in folders[:2])
    for member, other in ((one, two), (two, one)):
        assert member.cwd is not None
        text = "masterauth pw\nrepl-diskless-sync-delay 0\nappendonly no\n"
        text += f"replicaof 127.0.0.1 {one.port}\n" if member is two else ""
        with (member.cwd / "redis.conf").open("a") as conf:
            conf.write(text)
        del other
    folders[2].mkdir()
    (port,) = free_ports(1)
    watch = folders[2] / "sentinel.conf"
    watch.write_text(
        f'bind 127.0.0.1\nport {port}\ndir "{folders[2]}"\nsentinel monitor archive 127.0.0.1 {one.port} 1\n'
        "sentinel auth-pass archive pw\nsentinel down-after-milliseconds archive 400\n"
        "sentinel failover-timeout archive 3000\n"
    )
    with ExitStack() as stack:
        master = stack.enter_context(running(list(one.argv), tmp_path / "one.log"))
        until(one.ready, "the first server")
        stack.enter_context(running(list(two.argv), tmp_path / "two.log"))
        until(two.ready, "the second server")
        with Redis(port=two.port, password="pw", decode_responses=True) as client:
            until(lambda: client.info("replication").get("master_link_status") == "up", "the copy")
        stack.enter_context(running([one.argv[0], str(watch), "--sentinel"], tmp_path / "watch.log"))
        with Redis(port=port, decode_responses=True) as client:
            until(lambda: _answers(port) and client.sentinel_master("archive")["num-slaves"] == 1, "the sentinel")
        watched = replace(settings, redis_url=f"sentinel://:pw@127.0.0.1:{port}/archive/0", broker_url="")
        ledger, publisher = Ledger(watched), Publisher(watched)
        ledger.announce_job("00000000000000aa")
        publisher.publish("00000000000000aa", 0, "label")
        assert publisher.waiting() == 1
        with Redis(port=one.port, password="pw") as client:
            client.wait(1, 5000)
        os.killpg(master.pid, signal.SIGKILL)

        def back() -> bool:
            with suppress(Unreachable):
                return ledger.submitted() == {"00000000000000aa"} and publisher.waiting() == 1
            return False

        until(back, "the new master")
        ledger.announce_job("00000000000000ab")  # and it takes writes
        assert len(ledger.submitted()) == 2


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory, need: Callable[[str], str]) -> Iterator[str]:
    """The amqp:// address of a RabbitMQ of our own."""
    need("rabbitmq-server")
    server = next(p for p in map(Path, _RABBITS) if p.exists())
    folder = tmp_path_factory.mktemp("rabbit")
    amqp, distribution = free_ports(2)
    environ = {
        "RABBITMQ_NODENAME": f"respool{amqp}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(amqp),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(free_ports(1)[0]),
        "HOME": str(folder),
        "TMPDIR": str(folder),
    }
    (folder / "plugins").write_text("[].")
    (folder / "rabbitmq.conf").write_text("default_user = respool\ndefault_pass = hunter2\nloopback_users = none\n")
    try:
        with running([str(server)], folder / "out.log", environ):
            until(lambda: _answers(amqp), f"RabbitMQ; logs in {folder}", 90)
            yield f"amqp://respool:hunter2@127.0.0.1:{amqp}//"
    finally:  # the name server that the first node starts for all outlives it
        subprocess.run(["epmd", "-kill"], env={**os.environ, **environ}, capture_output=True, check=False)


def test_messages_wait_in_a_quorum_queue(settings: Settings, rabbit: str) -> None:
    """Published messages are counted before a worker takes them, in a queue that survives the loss of a broker.

    It comes before the job: a worker that is killed gives messages back, which would count here.
    """
    with closing(Publisher(replace(settings, broker_url=rabbit))) as publisher:
        assert publisher.waiting() == 0  # RabbitMQ refuses to count a queue that is not there yet
        publisher.publish("00000000000000aa", 0, "label")
        until(lambda: publisher.waiting() == 1, "the message")
    with Connection(rabbit) as connection, pytest.raises(PreconditionFailed, match="x-queue-type"):
        Queue(queue(VERSION), channel=connection.default_channel).declare()


def test_a_job_runs_over_rabbitmq(settings: Settings, rabbit: str, tmp_path: Path) -> None:
    """RabbitMQ as the broker, with a quorum queue, and Redis for the ledger alone: the job is done."""
    assert restore(replace(settings, broker_url=rabbit), tmp_path) == "done"
