"""Structured logs: one event a line on stderr, as text or JSON, with job, chunk and attempt where there are any."""

from __future__ import annotations

import logging
import sys
import time
from copy import copy
from typing import Any

import msgspec

from contract.printable import printable
from contract.settings import Settings

FIELDS = ("job", "chunk", "attempt", "worker")


class _Utc(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's own signature
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))


class _Text(_Utc):
    def format(self, record: logging.LogRecord) -> str:
        event = copy(record)
        event.msg, event.args = printable(record.getMessage()).replace("\n", "\\n"), ()
        line = super().format(event)
        fields = " ".join(f"{name}={printable(str(value))}" for name, value in _fields(record).items())
        return f"{line} {fields}" if fields else line


class _Json(_Utc):
    def format(self, record: logging.LogRecord) -> str:
        body: dict[str, Any] = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            body["exception"] = self.formatException(record.exc_info)
        return printable(msgspec.json.encode(body).decode())


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}


def configure(settings: Settings) -> None:
    """Send every log record of this process to stderr in the configured format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Json() if settings.log_format == "json" else _Text("%(asctime)s %(levelname)s %(name)s %(message)s")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("botocore", "boto3", "urllib3", "s3transfer", "kombu", "amqp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
