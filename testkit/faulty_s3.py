"""An HTTP proxy in front of a real S3 server that injects faults: 503, connection resets, short bodies, delays."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit

_BUSY = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>'


class Proxy:
    """A proxy that forwards to `target` (http://host:port) and injects faults with the given probabilities; `seed` seeds the draws.

    `errors` answer 503 before anything is forwarded, `resets` break the connection (half of them after the server has
    done what was asked, so that the answer is lost), `cuts` end a body half way. Every answer takes up to `delay_s`.
    """

    def __init__(
        self,
        target: str,
        seed: int,
        errors: float = 0.0,
        resets: float = 0.0,
        cuts: float = 0.0,
        delay_s: float = 0.0,
    ) -> None:
        self.errors, self.resets, self.cuts, self.delay_s = errors, resets, cuts, delay_s
        self.injected = {"errors": 0, "resets": 0, "cuts": 0}
        self._target = urlsplit(target)
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                proxy._forward(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 - the base class looks for these

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Log nothing, because a line for each request would hide the failures."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Ignore errors, because connections are broken here on purpose."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _draw(self) -> tuple[str, bool]:
        with self._lock:
            value, late = self._random.random(), self._random.random() < 0.5
            for name in ("errors", "resets", "cuts"):
                value -= getattr(self, name)
                if value < 0:
                    self.injected[name] += 1
                    return name, late
        return "", late

    def _forward(self, handler: BaseHTTPRequestHandler) -> None:
        fault, late = self._draw()
        time.sleep(random.uniform(0, self.delay_s))
        size = int(handler.headers.get("Content-Length") or 0)
        if handler.headers.get("Expect", "").lower() == "100-continue":
            handler.send_response_only(100)
            handler.end_headers()
        body = handler.rfile.read(size)
        if fault == "errors":
            handler.send_response(503)
            handler.send_header("Content-Length", str(len(_BUSY)))
            handler.end_headers()
            handler.wfile.write(b"" if handler.command == "HEAD" else _BUSY)
            return
        if fault == "resets" and not late:
            self._reset(handler)
            return
        connection = http.client.HTTPConnection(self._target.hostname or "", self._target.port, timeout=60)
        try:
            connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            for name, value in handler.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
            if fault == "resets":
                self._reset(handler)
                return
            handler.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    handler.send_header(name, value)
            length = answer.getheader("Content-Length") if handler.command == "HEAD" else str(len(content))
            handler.send_header("Content-Length", length or "0")
            handler.end_headers()
            if fault == "cuts" and len(content) > 1:
                handler.wfile.write(content[: len(content) // 2])
                self._reset(handler)
                return
            handler.wfile.write(content)
        finally:
            connection.close()

    @staticmethod
    def _reset(handler: BaseHTTPRequestHandler) -> None:
        """Close with RST, as a machine that vanishes does."""
        handler.close_connection = True
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
