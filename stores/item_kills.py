"""Counts in Redis of processes that were killed while they read an item: the orchestrator may be killed with them."""

from __future__ import annotations

import logging
from typing import cast

from contract import keys
from contract.errors import Unreachable
from stores.redis_client import RedisClient

logger = logging.getLogger(__name__)


class ItemKills(RedisClient):
    """Items that were begun and not ended, each with the number of times. Without Redis nothing is counted."""

    def begin(self, job: str, item: int) -> None:
        """Count a beginning; what ends it takes it back."""
        try:
            self._call(lambda: self._redis.hincrby(_name(job), str(item), 1))
        except Unreachable as error:
            logger.warning("%s", error, extra={"job": job})

    def end(self, job: str, item: int) -> None:
        """Forget an item that was read to its end, or left by choice."""
        try:
            self._call(lambda: self._redis.hdel(_name(job), str(item)))
        except Unreachable as error:
            logger.warning("%s", error, extra={"job": job})

    def counts(self, job: str) -> dict[int, int]:
        """Return the number of unfinished beginnings by item."""
        try:
            found = cast(dict[str, str], self._call(lambda: self._redis.hgetall(_name(job))))
        except Unreachable:
            return {}
        return {int(item): int(count) for item, count in found.items()}


def _name(job: str) -> str:
    return f"respool:{{{keys.check_job(job)}}}:kills"
