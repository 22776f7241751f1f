"""A filter between the broker and Celery: messages that are not Respool's never reach Celery's own code.

Celery trusts a message's headers: how long it keeps the message in memory, time limits that it adds to numbers, task names that
it looks up. One message with text as a time limit ends every worker that receives it, and returns to the queue.
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
"""Largest body in bytes; Respool's messages have about 150."""

_MAX_LABEL = 4096
_NOTHING = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def refusal(headers: object, content_type: object, body: object) -> str:
    """Return the reason to refuse a message; empty if it may be Respool's. The task itself reads the chunk in the body."""
    if not isinstance(headers, dict) or headers.get("task") != tasks.ENHANCE:
        return "it names no task of Respool"
    if not isinstance(headers.get("id"), str) or len(headers["id"]) > 255:
        return "it has no id"
    if content_type != "application/json" or not isinstance(body, str | bytes):
        return "it is not JSON"
    if len(body) > MAX_BODY:
        return f"it has {len(body)} bytes, but at most {MAX_BODY} are allowed"
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return "it is not valid JSON"
    if not isinstance(read, list) or len(read) != 3 or not isinstance(read[0], list) or len(read[0]) != 1:
        return "it does not name exactly one chunk"
    if read[1] or (isinstance(read[2], dict) and any(read[2].values())):
        return "it asks for more than the work on one chunk"
    return ""


def cleaned(headers: dict[str, Any], body: str | bytes) -> tuple[dict[str, Any], str]:
    """Return headers and body in which a sender controls only the id, the chunk, and the label that Flower shows."""
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
        "argsrepr": label[:_MAX_LABEL] if isinstance(label, str) else "",
        "kwargsrepr": "{}",
        "ignore_result": True,
    }
    return kept, json.dumps([json.loads(body)[0], {}, _NOTHING])


class MessageFilter(Consumer):  # type: ignore[misc]  # Celery is not typed
    """Celery's consumer, which receives only cleaned messages of Respool."""

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], Any]:
        """Return Celery's message handler, with the filter before it."""
        handle: Callable[[Any], Any] = super().create_task_handler(*args, **options)

        def received(message: Any) -> Any:
            reason = refusal(message.headers, message.content_type, message.body)
            if reason:
                logger.warning("refused a message: %s", reason)
                message.ack_log_error(logger, self.connection_errors)
                return None
            message.headers, message.body = cleaned(message.headers, message.body)
            message.content_encoding = "utf-8"
            return handle(message)

        return received
