"""One Redis through a client that retries and names its failures, and locks in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from contract.errors import Unreachable
from contract.settings import Settings
from stores import addresses

R = TypeVar("R")


class RedisClient:
    """A connection to Redis. Safe to share between threads; raises Unreachable when Redis does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._redis = addresses.client(
            settings,
            decode_responses=True,
            socket_connect_timeout=settings.connect_timeout_s,
            socket_timeout=30,
            socket_keepalive=True,
            health_check_interval=25,
            retry=Retry(ExponentialWithJitterBackoff(cap=1.0, base=0.05), 3),
        )
        self._where = ", ".join(f"{host}:{port}" for host, port in addresses.parse(settings.redis_url).hosts)

    def _call(self, call: Callable[[], R]) -> R:
        try:
            return call()
        except AuthenticationError as error:
            raise Unreachable("Redis refused the password; check RESPOOL_REDIS_URL.") from error
        except RedisError as error:
            raise Unreachable(
                f"Redis at {self._where} does not answer ({type(error).__name__}); check RESPOOL_REDIS_URL and that it runs."
            ) from error

    def ping(self) -> None:
        """Raise Unreachable when Redis does not answer."""
        self._call(self._redis.ping)

    @contextmanager
    def lock(self, name: str, ttl_s: float) -> Iterator[Callable[[], bool] | None]:
        """Try to hold a cluster-wide lock: yields a function that renews it (False once lost), or None when taken."""
        lock = self._redis.lock(f"respool:lock:{name}", timeout=ttl_s, thread_local=False)
        if not self._call(lambda: lock.acquire(blocking=False)):
            yield None
            return

        def keep() -> bool:
            try:
                return bool(lock.reacquire())
            except redis.exceptions.LockError:
                return False
            except RedisError:
                return True  # not known to be lost; the caller's own commit is conditional anyway

        try:
            yield keep
        finally:
            with suppress(RedisError):  # it ran out or Redis is away: in both cases the lock ends by itself
                lock.release()
