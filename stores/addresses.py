"""Addresses of Redis and the broker in settings, and the options that redis-py and kombu get for them.

redis://[user:password@]host:port/0                     one server
rediss://[user:password@]host:port/0[?ssl_ca_certs=F]   the same over TLS; certificate and host name are checked
sentinel://[user:password@]host:port,host:port/NAME/0   whichever server these sentinels call the master of NAME
sentinels://...                                         the same over TLS
amqp://, amqps://                                       RabbitMQ, as broker only; its queue is a quorum queue

TLS options, all paths: ssl_ca_certs, ssl_certfile, ssl_keyfile. sentinel_password is for sentinels with one of their own.
There is no option that switches the check of certificates off.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import redis
from redis.sentinel import Sentinel

from contract import tasks
from contract.documents import KNOWN
from contract.errors import UsageError
from contract.settings import Settings

if TYPE_CHECKING:
    from kombu.entity import Queue

_EXPECTED = "redis://[:password@]host:port/0, rediss:// for TLS, or sentinel://[:password@]host:port,host:port/name/0"
_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SENTINEL_PORT = 26379
_DELIVERY_MARGIN_MS = 300_000


@dataclass(frozen=True)
class Address:
    """A Redis address, taken apart. `hosts` are sentinels when `master` is set; `tls` is None without TLS."""

    hosts: tuple[tuple[str, int], ...]
    master: str
    database: int
    username: str | None
    password: str | None = field(repr=False)
    sentinel_password: str | None = field(repr=False)
    tls: Mapping[str, str] | None


@dataclass(frozen=True)
class Broker:
    """Configuration of a Celery app for its broker.

    `conf` holds broker_url, broker_use_ssl and transport options; `queues` has the declared queues by the version of the
    plans whose chunks they hold.
    """

    conf: Mapping[str, Any] = field(repr=False)
    queues: Mapping[int, Queue]


def parse(url: str, variable: str = "RESPOOL_REDIS_URL") -> Address:
    """Parse a Redis address; raise UsageError, naming `variable` and never the password, when it is none."""
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        userinfo, _, places = parts.netloc.rpartition("@")
        username, _, password = userinfo.partition(":")
        sentinel = parts.scheme in ("sentinel", "sentinels")
        hosts = tuple(_host(place, _SENTINEL_PORT if sentinel else 6379) for place in places.split(","))
        path = [unquote(part) for part in parts.path.split("/") if part]
        master = path.pop(0) if sentinel and path else ""
        database = int(path.pop(0)) if path else 0
    except ValueError as error:
        raise UsageError(f"{variable} is not a Redis address; expected {_EXPECTED}.") from error
    unknown = options.keys() - {*_TLS, *(("sentinel_password",) if sentinel else ())}
    if (
        parts.scheme not in ("redis", "rediss", "sentinel", "sentinels")
        or path
        or database < 0
        or bool(master) != sentinel
    ):
        raise UsageError(f"{variable} is not a Redis address; expected {_EXPECTED}.")
    if unknown:
        raise UsageError(f"{variable} has the option {min(unknown)!r}; known are {', '.join(_TLS)}, sentinel_password.")
    if not sentinel and len(hosts) > 1:
        raise UsageError(f"{variable} names {len(hosts)} servers; several are for sentinel:// only.")
    tls = parts.scheme.endswith("s") and parts.scheme != "redis"
    if not tls and any(name in options for name in _TLS):
        raise UsageError(f"{variable} has TLS options, but {parts.scheme}:// is not TLS; write {parts.scheme}s://.")
    return Address(
        hosts=hosts,
        master=master,
        database=database,
        username=unquote(username) or None,
        password=unquote(password) or None,
        sentinel_password=options.get("sentinel_password"),
        tls={name: options[name] for name in _TLS if name in options} if tls else None,
    )


def client(settings: Settings, **options: Any) -> redis.Redis:
    """Make a Redis client for `redis_url`; it follows the sentinels. `options` go to every connection."""
    address = parse(settings.redis_url)
    options = {**options, "db": address.database, "username": address.username, "password": address.password}
    if not address.master:
        (host, port) = address.hosts[0]
        if address.tls is not None:
            options |= {"ssl": True, **_checked(address.tls)}
        return redis.Redis(host=host, port=port, **options)
    tls = {"ssl": True, **_checked(address.tls)} if address.tls is not None else {}
    keep = {name: options[name] for name in ("socket_connect_timeout", "socket_timeout") if name in options}
    sentinels = Sentinel(
        list(address.hosts), sentinel_kwargs={"password": address.sentinel_password, **keep, **tls}, **options, **tls
    )
    found: redis.Redis = sentinels.master_for(address.master)
    return found


def broker(settings: Settings) -> Broker:
    """Return Celery's configuration for the broker; raise UsageError when its address is none."""
    from kombu.entity import Queue  # not for those who want the ledger alone

    url = settings.broker
    scheme = url.partition("://")[0]
    if scheme in ("amqp", "amqps", "pyamqp"):
        return _rabbit(settings, url)
    address = parse(url, "RESPOOL_BROKER_URL" if settings.broker_url else "RESPOOL_REDIS_URL")
    transport: dict[str, Any] = {
        "visibility_timeout": 3600,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "health_check_interval": 25,
        "socket_timeout": 30,
        "socket_keepalive": True,
    }
    login = f"{quote(address.username or '', safe='')}:{quote(address.password or '', safe='')}@"
    login = login if address.username or address.password else ""
    kind = "sentinel" if address.master else "rediss" if address.tls is not None else "redis"
    urls = [f"{kind}://{login}{_place(host)}:{port}/{address.database}" for host, port in address.hosts]
    if address.master:
        transport |= {"master_name": address.master, "sentinel_kwargs": {"password": address.sentinel_password}}
        if address.tls is not None:
            transport["sentinel_kwargs"] |= {"ssl": True, **_checked(address.tls)}
    conf: dict[str, Any] = {"broker_url": ";".join(urls), "broker_transport_options": transport}
    if address.tls is not None:
        conf["broker_use_ssl"] = _checked(address.tls)
    return Broker(conf, {version: Queue(tasks.queue(version)) for version in KNOWN})


def _rabbit(settings: Settings, url: str) -> Broker:
    """Configure RabbitMQ: a replicated queue, and acknowledgements that may take as long as a chunk."""
    from kombu.entity import Queue

    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        host = _host(parts.netloc.rpartition("@")[2], 5672)[0]
    except ValueError as error:
        raise UsageError(
            "RESPOOL_BROKER_URL is not a RabbitMQ address; expected amqp[s]://user:password@host:port/vhost."
        ) from error
    unknown = options.keys() - set(_TLS)
    if unknown:
        raise UsageError(f"RESPOOL_BROKER_URL has the option {min(unknown)!r}; known are {', '.join(_TLS)}.")
    patience = int(settings.chunk_hard_limit_s * 1000) + _DELIVERY_MARGIN_MS
    arguments = {"x-queue-type": "quorum", "x-consumer-timeout": patience}
    queues = {version: Queue(tasks.queue(version), queue_arguments=arguments) for version in KNOWN}
    conf: dict[str, Any] = {
        "broker_url": parts._replace(query="").geturl(),
        "broker_transport_options": {"confirm_publish": True},
    }
    if parts.scheme == "amqps":
        names = {"ssl_ca_certs": "ca_certs", "ssl_certfile": "certfile", "ssl_keyfile": "keyfile"}
        conf["broker_use_ssl"] = {
            "cert_reqs": ssl.CERT_REQUIRED,
            "server_hostname": host,
            **{names[name]: value for name, value in options.items()},
        }
    return Broker(conf, queues)


def _checked(tls: Mapping[str, str]) -> dict[str, Any]:
    """Add the certificate checks that kombu leaves out by default to TLS options."""
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True, **tls}


def _host(place: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{place}")
    if not parts.hostname:
        raise ValueError("no host")
    return parts.hostname, parts.port or port


def _place(host: str) -> str:
    return f"[{host}]" if ":" in host else host
