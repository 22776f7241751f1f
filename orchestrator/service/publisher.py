"""Publication of chunks: Celery messages that name a waiting chunk."""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import KombuError, OperationalError

from contract import tasks
from contract.documents import VERSION, Version
from contract.errors import Unreachable
from contract.printable import printable
from contract.settings import Settings
from contract.tasks import ChunkMessage
from stores import addresses


class Publisher:
    """Publisher of chunks to one broker. Not thread-safe."""

    def __init__(self, settings: Settings) -> None:
        broker = addresses.broker(settings)
        self._queues = broker.queues
        self._app = Celery("respool")
        self._app.conf.update(
            **broker.conf,
            task_queues=list(broker.queues.values()),
            task_serializer="json",
            accept_content=["json"],
            task_ignore_result=True,
            broker_connection_timeout=settings.connect_timeout_s,
            task_publish_retry=False,
        )
        self._connection: Connection | None = None
        self._channel: Any = None
        """Kept for counts of waiting messages, which are asked for at each look at a job."""

    def publish(self, job: str, chunk: int, label: str, version: Version = VERSION) -> None:
        """Publish a chunk of a plan of `version` to workers that read it; Flower shows `label`.

        Raises Unreachable when the broker does not answer.
        """
        message = tasks.to_message(ChunkMessage(job, chunk, version))
        try:
            self._app.send_task(tasks.ENHANCE, args=[message], queue=self._queues[version], argsrepr=printable(label))
        except (OperationalError, KombuError, OSError) as error:
            raise Unreachable(f"the broker does not take messages ({error}); check RESPOOL_BROKER_URL.") from error

    def waiting(self, version: int | None = None) -> int:
        """Count the messages that no worker has taken yet, about plans of `version` or of any known one."""
        return sum(self._depth(queue.name) for known, queue in self._queues.items() if version in (known, None))

    def close(self) -> None:
        """Close the connection that was kept for counts."""
        self._disconnect()

    def _depth(self, queue: str) -> int:
        """Count the messages of `queue` over the kept connection; one that proves broken is made anew, once."""
        kept = self._channel is not None
        try:
            return self._counted(queue)
        except Unreachable:
            if not kept:
                raise
            return self._counted(queue)

    def _counted(self, queue: str) -> int:
        try:
            if self._channel is None:
                self._connection = self._app.connection_for_write()
                self._channel = self._connection.default_channel
            return int(self._channel.queue_declare(queue, passive=True).message_count)
        except (OperationalError, OSError) as error:
            self._disconnect()
            raise Unreachable(f"the broker does not answer ({error}); check RESPOOL_BROKER_URL.") from error
        except connection_errors(self._app) as error:
            if getattr(error, "code", 0) == 404 or "NOT_FOUND" in str(error):
                return 0  # no worker and no message yet; where that closes a channel, its library opens it again
            self._disconnect()
            raise Unreachable(f"the broker does not answer ({error}); check RESPOOL_BROKER_URL.") from error

    def _disconnect(self) -> None:
        broken, self._connection, self._channel = self._connection, None, None
        if broken is not None:
            broken.close()


def connection_errors(app: Celery) -> tuple[type[Exception], ...]:
    """Return the exceptions of the broker's transport for refused and lost connections."""
    connection = app.connection_for_write()
    found: tuple[type[Exception], ...] = (*connection.connection_errors, *connection.channel_errors)
    return found
