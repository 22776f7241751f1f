"""Between the broker and Celery: what is no message of ours never reaches Celery's own code.

Celery believes a message's headers: times it keeps the message in memory for, limits that it adds to numbers, names of
tasks that it looks up. One message with a word for a limit ends every worker that takes it, and goes back to the queue.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer

from contract import tasks

logger = logging.getLogger(__name__)

MAX_BODY = 1 << 16
"""Bytes of a message's body; ours have about 150."""

_MAX_WORDS = 4096
_NOTHING = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def refusal(headers: object, content_type: object, body: object) -> str:
    """Why a message is none of ours, in a few words; empty when it may be one, whose ring the task itself reads."""
    if not isinstance(headers, dict) or headers.get("task") != tasks.ENHANCE:
        return "it names no task of ours"
    if not isinstance(headers.get("id"), str) or len(headers["id"]) > 255:
        return "it has no id"
    if content_type != "application/json" or not isinstance(body, str | bytes):
        return "it is no JSON"
    if len(body) > MAX_BODY:
        return f"it has {len(body)} bytes; ours have {MAX_BODY} at most"
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return "it cannot be read"
    if not isinstance(read, list) or len(read) != 3 or not isinstance(read[0], list) or len(read[0]) != 1:
        return "it is not about one chunk"
    if read[1] or (isinstance(read[2], dict) and any(read[2].values())):
        return "it asks for more than one chunk's work"
    return ""


def plain(headers: dict[str, Any], body: str | bytes) -> tuple[dict[str, Any], str]:
    """A message's headers and body with nothing in them that a sender could choose but id, ring, and Flower's line."""
    label = headers.get("argsrepr")
    kept: dict[str, Any] = {
        "lang": "py",
        "task": tasks.ENHANCE,
        "id": headers["id"],
        "root_id": headers["id"],
        "parent_id": None,
        "group": None,
        "retries": 0,
        "timelimit": [None, None],
        "eta": None,
        "expires": None,
        "argsrepr": label[:_MAX_WORDS] if isinstance(label, str) else "",
        "kwargsrepr": "{}",
        "ignore_result": True,
    }
    return kept, json.dumps([json.loads(body)[0], {}, _NOTHING])


class Gate(Consumer):  # type: ignore[misc]  # Celery is not typed
    """Celery's consumer, which is handed plain messages of ours alone."""

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], Any]:
        handle: Callable[[Any], Any] = super().create_task_handler(*args, **options)

        def received(message: Any) -> Any:
            why = refusal(message.headers, message.content_type, message.body)
            if why:
                logger.warning("refused a message: %s", why)
                message.ack_log_error(logger, self.connection_errors)
                return None
            message.headers, message.body = plain(message.headers, message.body)
            message.content_encoding = "utf-8"
            return handle(message)

        return received
