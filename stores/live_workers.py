"""Live workers, by their own heartbeats in Redis."""

from __future__ import annotations

from typing import cast

import msgspec

from stores.redis_client import RedisClient

WORKERS = "respool:workers"
FIT = "respool:fit"
"""Those of them that can take work, by the time until which they are known to live."""


class LiveWorkers(RedisClient):
    """The list of workers; each keeps itself on it for `lease_ttl_s` at a time."""

    def announce_worker(self, worker: str, info: dict[str, object]) -> None:
        """Record a worker's heartbeat for `lease_ttl_s`; `respool workers` shows `info`."""
        body = msgspec.json.encode(info).decode()

        def write() -> None:
            now = self._redis.time()[0]
            pipe = self._redis.pipeline(transaction=True)
            pipe.zadd(WORKERS, {worker: now + self._settings.lease_ttl_s})
            pipe.hset(f"{WORKERS}:info", worker, body)
            if info.get("problem"):
                pipe.zrem(FIT, worker)
            else:
                pipe.zadd(FIT, {worker: now + self._settings.lease_ttl_s})
            pipe.execute()

        self._call(write)

    def dismiss_worker(self, worker: str) -> None:
        """Remove a worker from the list."""
        self._call(lambda: self._redis.zrem(WORKERS, worker))
        self._call(lambda: self._redis.zrem(FIT, worker))
        self._call(lambda: self._redis.hdel(f"{WORKERS}:info", worker))

    def workers(self) -> dict[str, dict[str, object]]:
        """Return the last heartbeat of each live worker; remove dead ones from the list."""

        def read() -> dict[str, dict[str, object]]:
            now = self._redis.time()[0]
            dead = cast(list[str], self._redis.zrangebyscore(WORKERS, "-inf", now))
            if dead:
                self._redis.zrem(WORKERS, *dead)
                self._redis.zrem(FIT, *dead)
                self._redis.hdel(f"{WORKERS}:info", *dead)
            infos = cast(dict[str, str], self._redis.hgetall(f"{WORKERS}:info"))
            return {name: msgspec.json.decode(body) for name, body in sorted(infos.items())}

        return self._call(read)

    def heartbeats(self) -> dict[str, float]:
        """Return the seconds since each live worker's last heartbeat, by Redis' clock."""

        def read() -> dict[str, float]:
            seconds, micros = self._redis.time()
            fresh = cast(list[tuple[str, float]], self._redis.zrange(WORKERS, 0, -1, withscores=True))
            now = seconds + micros / 1e6
            return {name: max(0.0, now - (until - self._settings.lease_ttl_s)) for name, until in fresh}

        return self._call(read)
