"""Prometheus' metrics and a health check over HTTP, as both sides serve them.

GET /metrics    the registry, in Prometheus' text format
GET /healthz    200 while the process does its work, 503 when it is stuck
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from contract.errors import UsageError
from contract.settings import Settings


class Heartbeat:
    """Time of a loop's last round; safe to share between threads."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._at = time.monotonic()

    def beat(self) -> None:
        """Record a round of the loop."""
        self._at = time.monotonic()

    def alive(self) -> bool:
        """Return True when the last beat is no older than the patience."""
        return time.monotonic() - self._at <= self._patience_s


@contextmanager
def served(settings: Settings, registry: CollectorRegistry, alive: Callable[[], bool]) -> Iterator[int]:
    """Serve `registry` and `alive` on `metrics_port` until the end of the block; yield the port, 0 for none.

    Raises UsageError when the port cannot be bound.
    """
    if not settings.metrics_port:
        yield 0
        return
    address = (settings.metrics_host, settings.metrics_port)
    try:
        server = _Server(address, _handler(registry, alive))
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"metrics cannot be served on {address[0]}:{address[1]} ({error}); choose another RESPOOL_METRICS_PORT."
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a client that keeps its connection open must not keep the process from ending


def _handler(registry: CollectorRegistry, alive: Callable[[], bool]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0  # seconds a silent client may hold a thread

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry))
            elif self.path == "/healthz":
                well = alive()
                status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
                self._answer(status, "text/plain; charset=utf-8", b"well\n" if well else b"stuck\n")
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"here are /metrics and /healthz\n")

        def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing: a line for each scrape would drown the log."""

    return Handler
