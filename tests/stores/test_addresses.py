"""Addresses of Redis and brokers: what is understood, and what is refused without showing a password."""

from __future__ import annotations

import ssl

import pytest

from contract.errors import UsageError
from contract.settings import Settings
from stores.addresses import broker, parse


def test_plain_addresses_are_taken_apart() -> None:
    """Host, port, database, user and password, with percent signs decoded; the port is optional."""
    address = parse("redis://me:p%40ss@redis.example:7000/3")
    assert (address.hosts, address.database, address.username, address.password) == (
        (("redis.example", 7000),),
        3,
        "me",
        "p@ss",
    )
    assert parse("redis://h").hosts == (("h", 6379),)
    assert parse("redis://[::1]:6380/0").hosts == (("::1", 6380),)


def test_sentinels_name_a_master() -> None:
    """Several sentinels, the name of their master, and a password that is the sentinels' own."""
    address = parse("sentinel://:secret@a:1,b,c:3/archive/2?sentinel_password=other")
    assert address.hosts == (("a", 1), ("b", 26379), ("c", 3))
    assert (address.master, address.database, address.sentinel_password) == ("archive", 2, "other")
    conf = broker(Settings(redis_url="sentinel://:p%2Fw@a:1,b:2/archive/2")).conf
    assert conf["broker_url"] == "sentinel://:p%2Fw@a:1/2;sentinel://:p%2Fw@b:2/2"
    assert conf["broker_transport_options"]["master_name"] == "archive"


@pytest.mark.parametrize("url", ["rediss://h", "rediss://h/0?ssl_ca_certs=/ca.pem", "sentinels://h/m/0"])
def test_tls_is_always_checked(url: str) -> None:
    """By default kombu leaves certificates unchecked; here every TLS address checks certificate and host name."""
    tls = broker(Settings(redis_url=url)).conf["broker_use_ssl"]
    assert tls["ssl_cert_reqs"] == ssl.CERT_REQUIRED
    assert tls["ssl_check_hostname"] is True


def test_rabbitmq_gets_a_quorum_queue_and_checked_certificates() -> None:
    """The queue is replicated, and an acknowledgement may take longer than the longest chunk."""
    made = broker(Settings(broker_url="amqps://u:p@mq.example/v?ssl_ca_certs=/ca.pem", chunk_hard_limit_s=2100))
    assert made.queues[1].queue_arguments == {"x-queue-type": "quorum", "x-consumer-timeout": 2_400_000}
    assert made.conf["broker_url"] == "amqps://u:p@mq.example/v"
    assert made.conf["broker_use_ssl"]["cert_reqs"] == ssl.CERT_REQUIRED
    assert made.conf["broker_use_ssl"]["server_hostname"] == "mq.example"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://:hunter2@h",
        "redis://:hunter2@h:port/0",
        "redis://:hunter2@h/0/1",
        "redis://:hunter2@h/zero",
        "redis://:hunter2@a,b/0",
        "redis://:hunter2@h/0?ssl_ca_certs=/ca.pem",
        "rediss://:hunter2@h/0?ssl_cert_reqs=none",
        "sentinel://:hunter2@h:1",
        "sentinel://:hunter2@h:1/0/1/2",
    ],
)
def test_what_is_no_address_is_refused_without_its_password(url: str) -> None:
    """Wrong schemes, ports, paths and options (the one that would switch checks off too) are refused, the secret unseen."""
    with pytest.raises(UsageError, match="RESPOOL_REDIS_URL") as refused:
        parse(url)
    assert "hunter2" not in str(refused.value)
