"""One frozen settings object, built once at the entry point from a TOML file and RESPOOL_* variables."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

from contract.errors import UsageError
from contract.submitter import check_submitter

_SECRET_MAX = 64 << 10


def _data_home() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "respool"


def _cache_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "respool"


_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True)
class Settings:
    """Every setting of every process. Times are seconds, sizes are bytes.

    Each field is read from the TOML file named by RESPOOL_CONFIG, then from the file that RESPOOL_<NAME>_FILE names
    (a mounted secret), then from RESPOOL_<NAME IN CAPITALS>.
    """

    redis_url: str = field(default="", repr=False)
    """Broker and ledger; empty means the embedded cluster."""
    broker_url: str = field(default="", repr=False)
    """Another Celery broker (RabbitMQ); empty means `redis_url`."""
    s3_endpoint: str = ""
    s3_access_key: str = ""
    s3_secret_key: str = field(default="", repr=False)
    s3_region: str = "us-east-1"
    s3_bucket: str = "respool"
    state: Path = Path()
    """The embedded cluster's folder; by default the user's data directory."""
    cache: Path = Path()
    """Downloaded weights and compiled networks."""
    scratch: Path = Path()
    """Folder in which a worker keeps its current chunk; by default the system's temporary folder."""
    connect_timeout_s: float = 3.0
    """Time that Redis or S3 may take to answer at start before it counts as unreachable."""
    lease_ttl_s: float = 30.0
    """A worker loses its lease after this time without renewal."""
    lease_renew_s: float = 1.0
    """Interval at which a worker renews its lease, reports progress, and checks for pause and cancel."""
    max_attempts: int = 4
    """Attempts of a chunk before it is set aside."""
    chunk_soft_limit_s: float = 1800.0
    chunk_hard_limit_s: float = 2100.0
    chunks_in_flight: int = 1
    """Chunks of films that a worker has in hand: one in the network, the others being encoded to their end, stored and committed."""
    poll_s: float = 0.25
    """Interval at which the orchestrator looks at every open job."""
    resend_s: float = 60.0
    """A chunk that is published but neither leased nor done after this time is published again."""
    window: int = 2
    """Chunks published ahead for each live worker."""
    submitter: str = ""
    """Name that jobs are submitted under; empty means the name of the operating system's user."""
    submitter_chunks: int = 0
    """Most chunks of one submitter that are published or leased at a time, by which orchestrators go; 0 means no limit."""
    submitter_bytes: int = 0
    """Most bytes that one submitter's jobs hold when another is submitted, by which orchestrators go; 0 means no limit."""
    media_memory: int = 8 << 30
    """Memory that a process may map while it ingests or assembles untrusted media; 0 means no limit."""
    media_cpu_s: float = 21600.0
    """Processor time that one source may take in that process; 0 means no limit."""
    media_step_s: float = 60.0
    """Processor time of one step: opening the source, finding or decoding one more frame; 0 means no limit."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    backend: str = "auto"
    """auto, torch, openvino, or our own kernels: fused for cards, native for CPUs, and winograd for CPUs that work in bf16 on vectors."""
    threads: int = 0
    """Cores that a worker computes and encodes with; 0 means all."""
    preload: bool = True
    """Import torch when a worker starts, beside the first fetch, rather than with its first chunk."""
    licence_policy: str = ""
    """Comma-separated SPDX ids; models under other licences are refused. Empty allows all."""
    log_format: str = "text"
    """text or json."""
    flower_user: str = "respool"
    flower_password: str = field(default="", repr=False)
    """Flower's login; `respool flower` does not start without a password."""
    webhook: str = field(default="", repr=False)
    """Address (http, https) to which an orchestrator posts each job's end; empty means none. Its path may be a secret."""
    metrics_port: int = 0
    """HTTP port for Prometheus' metrics and the health check; 0 means none."""
    metrics_host: str = "127.0.0.1"
    """Address that the metrics port listens on; 0.0.0.0 in a container."""

    def __post_init__(self) -> None:
        for name, default in (("state", _data_home() / "cluster"), ("cache", _cache_home())):
            if getattr(self, name) == Path():
                object.__setattr__(self, name, default)
        if self.lease_renew_s * 2 > self.lease_ttl_s:
            raise UsageError(
                f"lease_renew_s is {self.lease_renew_s} and lease_ttl_s {self.lease_ttl_s}: "
                "renew at least twice within a lease."
            )
        if not 1 <= self.chunks_in_flight <= 4:
            raise UsageError(f"chunks_in_flight is {self.chunks_in_flight}; give a number from 1 to 4.")
        if self.submitter:
            check_submitter(self.submitter)
        for name in ("submitter_chunks", "submitter_bytes"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is {getattr(self, name)}; give a number above 0, or 0 for no limit.")
        if self.webhook:
            _check_webhook(self.webhook)

    @property
    def broker(self) -> str:
        """URL of the Celery broker."""
        return self.broker_url or self.redis_url

    @property
    def embedded(self) -> bool:
        """True when no outside cluster is named, so that the one in `state` is used."""
        return not (self.redis_url or self.s3_endpoint)

    def environment(self) -> dict[str, str]:
        """Return the RESPOOL_* variables that build these settings in another process."""
        return {f"RESPOOL_{f.name.upper()}": str(getattr(self, f.name)) for f in fields(self)}


def _check_webhook(address: str) -> None:
    """Raise UsageError for anything but an http or https address without a login; the message does not repeat it."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(not 32 < ord(c) < 127 for c in address):
        raise UsageError("webhook is not an address; give one that begins with https:// or http:// and a host.")
    if "@" in parts.netloc:
        raise UsageError("webhook contains a login, which is not sent; put the receiver's token into the path.")


def load(environ: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """Build settings from RESPOOL_CONFIG (TOML), RESPOOL_* and `overrides`; later ones win.

    Raises:
        UsageError: a file cannot be read, a key is unknown, or a value has the wrong type.
    """
    known = get_type_hints(Settings)
    values: dict[str, Any] = {}
    config = environ.get("RESPOOL_CONFIG")
    if config:
        try:
            values = tomllib.loads(Path(config).read_text())
        except (OSError, ValueError) as error:
            raise UsageError(f"RESPOOL_CONFIG names {config!r}, which cannot be read: {error}.") from error
        for key in values.keys() - known.keys():
            raise UsageError(f"{config} sets {key!r}, which is not a setting; see docs/operations.md for the list.")
    for name in known:
        text = environ.get(f"RESPOOL_{name.upper()}") or _secret(name, environ)
        if text:
            values[name] = text
    for name, value in values.items():
        kind = known[name]
        try:
            values[name] = _SWITCH[str(value).lower()] if kind is bool else kind(value)
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"setting {name} is {value!r}, but a {kind.__name__} is needed.") from error
    return replace(Settings(**values), **overrides)


def _secret(name: str, environ: Mapping[str, str]) -> str:
    """Return the content of the file that RESPOOL_<NAME>_FILE names, without the newline that editors add at its end."""
    variable = f"RESPOOL_{name.upper()}_FILE"
    path = environ.get(variable)
    if not path:
        return ""
    try:
        with Path(path).open(encoding="utf-8") as stream:
            text = stream.read(_SECRET_MAX + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{variable} names {path!r}, which cannot be read: {error}.") from error
    if len(text) > _SECRET_MAX:
        raise UsageError(f"{variable} names {path!r}, which is longer than {_SECRET_MAX} characters; it is no setting.")
    return text.rstrip("\r\n")
