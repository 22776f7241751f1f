"""The webhook: a small JSON document, posted to one address for each job that ends.

It is sent from a thread of its own, so that no address can hold up the loop. An object beside the job's results records that it
was delivered: of several orchestrators one sends it, and one that starts sends what a dead one did not.
"""

from __future__ import annotations

import heapq
import http.client
import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Struct
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from contract import keys
from contract.documents import decode, encode
from contract.errors import PermanentError, RespoolError, TransientError
from contract.job import Job, Natural, State
from contract.settings import Settings
from orchestrator.job_store import Records
from stores.ledger import Ledger
from stores.storage import Storage

logger = logging.getLogger(__name__)

_WHOLE_S = 10.0
"""Seconds for one delivery, from the connection to the answer's status."""
_AGAIN_S = 0.1
"""Seconds between two attempts to cut a delivery off."""
_LOCK_S = 60.0
"""Seconds for which a dead sender holds up the others: a delivery and four requests to S3."""
_BUSY_S = 5.0
"""Seconds after which a sender looks whether another one has succeeded."""
_TRIES = 8
"""Tries of one delivery; their pauses of up to 2, 4, ... 128 s are two to four minutes in all."""
_LONGEST_WAIT_S = 128.0
_OLDEST = timedelta(days=1)
"""An ending that is older is not news: the job ended before the address was set, or while no orchestrator ran."""
_MOST_WAITING = 10_000
_LONGEST_NAME = 200
"""Characters of the name that is sent."""


class Notified(Struct, frozen=True, forbid_unknown_fields=True):
    """notified.json: the opening of the job whose end was posted to the webhook, and the state that was posted."""

    opening: Natural
    state: State


class Webhook(Collector):
    """Sender of one orchestrator; also the collector of its metrics. Without an address it does nothing."""

    def __init__(self, settings: Settings, storage: Storage, ledger: Ledger) -> None:
        self._to = urlsplit(settings.webhook)
        self._storage, self._records, self._ledger = storage, Records(storage), ledger
        self._due: list[tuple[float, int, str]] = []
        self._changed = threading.Condition()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._connection: http.client.HTTPConnection | None = None
        self._outcomes = {"delivered": 0, "failed_try": 0, "given_up": 0}

    def ended(self, job: str) -> None:
        """Queue the post of a job's end; return at once."""
        if not self._to.netloc:
            return
        with self._changed:
            if len(self._due) >= _MOST_WAITING:
                self._outcomes["given_up"] += 1
                logger.error("the job's end is not posted to the webhook: too many wait", extra={"job": job})
                return
            self._later(job, 0, 0.0)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop; what was not delivered is left to the next orchestrator."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
            if self._connection is not None:
                _cut(self._connection)
        if self._thread is not None:
            self._thread.join(_WHOLE_S)

    def collect(self) -> Iterator[Metric]:
        """Yield the deliveries by outcome, and how many wait."""
        with self._changed:
            outcomes, waiting = dict(self._outcomes), len(self._due)
        family = CounterMetricFamily(
            "respool_webhook", "Attempts to post a job's end to the webhook.", labels=["outcome"]
        )
        for outcome, count in outcomes.items():
            family.add_metric([outcome], count)
        yield family
        gauge = GaugeMetricFamily("respool_webhook_waiting", "Ended jobs whose end is still to be posted.")
        gauge.add_metric([], waiting)
        yield gauge

    def _later(self, job: str, tries: int, wait: float) -> None:
        heapq.heappush(self._due, (time.monotonic() + wait, tries, job))
        self._changed.notify()

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            job, tries = entry
            try:
                outcome = self._tell(job)
            except PermanentError as error:  # the job was removed, or cannot be read
                logger.warning("the job's end is not posted to the webhook: %s", error, extra={"job": job})
                outcome = "given_up"
            except Exception as error:
                outcome = self._failed(job, tries + 1, error)
            with self._changed:
                if outcome == "busy":
                    self._later(job, tries, _BUSY_S)
                elif outcome:
                    self._outcomes[outcome] += 1

    def _next(self) -> tuple[str, int] | None:
        """Wait for a delivery that is due; None when the sender is to stop."""
        with self._changed:
            while not self._stopped:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    _, tries, job = heapq.heappop(self._due)
                    return job, tries
                self._changed.wait(wait)
        return None

    def _failed(self, job: str, tries: int, error: Exception) -> str:
        """Try again later, or give up; return the outcome."""
        if self._stopped:
            return ""
        known = isinstance(error, RespoolError)
        if tries >= _TRIES:
            said = f"the job's end was not posted to the webhook in {tries} tries ({error}); the next orchestrator that starts tries again"
            logger.error(said, extra={"job": job}, exc_info=None if known else error)
            return "given_up"
        logger.warning("the webhook is tried again: %s", error, extra={"job": job}, exc_info=None if known else error)
        with self._changed:
            wait = min(_LONGEST_WAIT_S, 2.0**tries) * random.uniform(0.5, 1)  # noqa: S311 - jitter, not a secret
            self._later(job, tries, wait)
        return "failed_try"

    def _tell(self, job: str) -> str:
        """Post a job's end, unless it was posted, is old, or the job was opened again; "busy" while another orchestrator does."""
        with self._ledger.lock(f"webhook:{job}", _LOCK_S) as keep:
            if keep is None:
                return "busy"
            control, key = self._records.control(job), keys.notified(job)
            found = self._storage.find(key)
            told = None if found is None else decode(found, Notified, key)
            if told is not None and told.opening == control.retries and told.state != "cancelled":
                return ""
            manifest = self._records.manifest(job, control)
            if manifest is None and not control.cancelled:
                return ""
            now = Notified(control.retries, "cancelled" if manifest is None else manifest.state)
            if told == now:
                return ""
            if manifest is None:
                finished = self._storage.newest(keys.job_prefix(job)).astimezone(UTC).isoformat(timespec="seconds")
            else:
                finished = manifest.finished
            fresh = datetime.fromisoformat(finished) > datetime.now(UTC) - _OLDEST
            if fresh:
                files, failures = (len(manifest.files), len(manifest.failures)) if manifest else (0, 0)
                self._post(document(self._records.job(job), now.state, finished, files, failures))
            if (fresh or manifest is not None) and self._storage.exists(keys.job_spec(job)):
                self._storage.put(key, encode(now))  # makes a cancelled job young again; would outlive a collected one
            return "delivered" if fresh else ""

    def _post(self, body: bytes) -> None:
        """Post `body`; raise TransientError unless it was accepted with a status of 200 to 299. The answer's body is not read."""
        connection = _connection(self._to)
        with self._changed:
            if self._stopped:
                raise TransientError("the orchestrator ends.")
            self._connection = connection
        over = threading.Event()  # a timeout of sockets begins anew with each byte
        threading.Thread(target=_limit, args=(connection, over), name="webhook-limit", daemon=True).start()
        try:
            headers = {"Content-Type": "application/json", "User-Agent": "respool", "Connection": "close"}
            connection.request(
                "POST", self._to._replace(scheme="", netloc="", fragment="").geturl() or "/", body, headers
            )
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = type(error).__name__  # other errors repeat the path, or what the receiver sent
            if isinstance(error, OSError):
                reason += f": {error}"
            raise TransientError(f"{self._shown()} cannot be reached ({reason}).") from error
        finally:
            over.set()
            with self._changed:
                self._connection = None
            connection.close()
        if not 200 <= status < 300:
            raise TransientError(f"{self._shown()} answered with status {status}.")

    def _shown(self) -> str:
        """Return the address without its path, which may be a secret."""
        return f"{self._to.scheme}://{self._to.netloc}"


def document(job: Job, state: str, finished: str, files: int, failures: int) -> bytes:
    """Return the JSON that is posted; fields are only ever added."""
    name = job.items[0].name[:_LONGEST_NAME]
    return msgspec.json.encode(
        {
            "event": "job.ended",
            "job": job.id,
            "state": state,
            "name": name if len(job.items) == 1 else f"{name} and {len(job.items) - 1} more",
            "items": len(job.items),
            "files": files,
            "failures": failures,
            "submitted": job.created,
            "finished": finished,
        }
    )


class _Tls(http.client.HTTPSConnection):
    """HTTPS connection whose socket is known before the TLS handshake, so that the handshake can be cut, too."""

    def __init__(self, host: str, port: int | None) -> None:
        self._tls = ssl.create_default_context()
        super().__init__(host, port, timeout=_WHOLE_S, context=self._tls)

    def connect(self) -> None:
        """Connect, then shake hands."""
        http.client.HTTPConnection.connect(self)
        wrapped = self._tls.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = wrapped
        wrapped.do_handshake()


def _connection(to: SplitResult) -> http.client.HTTPConnection:
    host = to.hostname or ""
    # Without a port http.client looks for one behind the last colon, which an IPv6 address has of its own.
    if to.scheme == "https":
        return _Tls(host, to.port or http.client.HTTPS_PORT)
    return http.client.HTTPConnection(host, to.port or http.client.HTTP_PORT, timeout=_WHOLE_S)


def _limit(connection: http.client.HTTPConnection, over: threading.Event) -> None:
    """Cut `connection` when its time is up; again until `over` is set, as its socket may be made or wrapped only then."""
    if not over.wait(_WHOLE_S):
        while not over.wait(_AGAIN_S):
            _cut(connection)


def _cut(connection: http.client.HTTPConnection) -> None:
    """End whatever waits for `connection`, which may be closed already."""
    opened = connection.sock
    if opened is not None:
        try:
            socket.socket.shutdown(opened, socket.SHUT_RDWR)  # that of TLS would take the session from the other thread
        except OSError as error:
            logger.debug("the webhook's connection was closed already: %s", error)
