"""Publication of chunks: Celery messages that name a waiting chunk."""

from __future__ import annotations

from celery import Celery
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

    def _depth(self, queue: str) -> int:
        try:
            with self._app.connection_for_write() as connection:
                channel = connection.default_channel
                return int(channel.queue_declare(queue, passive=True).message_count)
        except (OperationalError, OSError) as error:
            raise Unreachable(f"the broker does not answer ({error}); check RESPOOL_BROKER_URL.") from error
        except connection_errors(self._app) as error:
            if getattr(error, "code", 0) == 404 or "NOT_FOUND" in str(error):
                return 0  # no worker and no message yet
            raise Unreachable(f"the broker does not answer ({error}); check RESPOOL_BROKER_URL.") from error


def connection_errors(app: Celery) -> tuple[type[Exception], ...]:
    """Return the exceptions of the broker's transport for refused and lost connections."""
    connection = app.connection_for_write()
    found: tuple[type[Exception], ...] = (*connection.connection_errors, *connection.channel_errors)
    return found
