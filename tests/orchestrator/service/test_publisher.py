"""The publisher counts waiting messages over one connection that it keeps."""

from __future__ import annotations

from contextlib import closing

from redis import Redis

from contract.settings import Settings
from orchestrator.service.publisher import Publisher

JOB = "00000000000000ab"


def _connections(redis: Redis) -> int:
    return int(redis.info("stats")["total_connections_received"])


def test_counts_open_no_connections(settings: Settings) -> None:
    """The first count connects; later ones, which come with each look at a job, do not."""
    with closing(Publisher(settings)) as publisher, Redis.from_url(settings.redis_url) as redis:
        before = publisher.waiting()
        publisher.publish(JOB, 0, "label")
        opened = _connections(redis)
        assert [publisher.waiting() for _ in range(20)] == [before + 1] * 20
        assert _connections(redis) == opened


def test_a_lost_connection_costs_no_count(settings: Settings) -> None:
    """A count whose kept connection the broker has ended is made anew over another one, and is right."""
    with closing(Publisher(settings)) as publisher, Redis.from_url(settings.redis_url) as redis:
        publisher.publish(JOB, 1, "label")
        before = publisher.waiting()
        own = redis.client_id()
        for client in redis.client_list():
            if int(client["id"]) != own:
                redis.client_kill_filter(_id=client["id"])
        opened = _connections(redis)
        assert publisher.waiting() == before
        assert _connections(redis) > opened
