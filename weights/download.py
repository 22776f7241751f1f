"""One file over HTTP, resumed where an earlier try stopped."""

from __future__ import annotations

import http.client
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import IO

from contract.errors import WeightsError

Report = Callable[[int, int | None], None]

_BLOCK = 1 << 20
_SILENCE_S = 15
"""A server that sends nothing for so long has gone."""
_LIMIT_S = 6 * 3600
"""Even the largest file is here in this time over 128 kbit/s; a server that is slower is left."""
_TRIES = 4
"""Connections in one call. Each one continues where the last stopped."""


def check_url(url: str) -> None:
    """Raise WeightsError unless `url` is http(s) with a host and without credentials (they would end in records)."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise WeightsError(f"{url[:200]!r} is not a URL that weights come from; only http and https are followed.")
    if parts.username or parts.password:
        raise WeightsError(f"the URL of {parts.hostname} carries credentials; use s3:// or a local file instead.")


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        check_url(newurl)
        if req.type == "https" and not newurl.startswith("https:"):
            raise WeightsError(f"{req.full_url} redirects to {newurl[:200]!r}, which is not encrypted; not followed.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type] # typeshed wants HTTPMessage


def _opener() -> urllib.request.OpenerDirector:
    """Handlers for http and https alone: the default opener also knows file:, ftp: and data:."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


class _Broken(Exception):
    """The connection ended early; what has arrived is kept, and the next one continues there."""


def download(url: str, target: Path, limit: int, report: Report) -> None:
    """Get `url` into `target`, continuing what is there already; at most `limit` bytes.

    `report` gets bytes here and bytes in all (None when the server does not say). Raises WeightsError with the URL and
    the reason; what has arrived stays in `target` for the next call.
    """
    check_url(url)
    end = time.monotonic() + _LIMIT_S
    for tried in range(_TRIES):
        try:
            _once(url, target, limit, report, end)
        except _Broken as error:
            if tried == _TRIES - 1:
                raise WeightsError(f"{url} broke off {_TRIES} times ({error}); try again to continue.") from error
        except urllib.error.HTTPError as error:
            if error.code != 416:
                raise WeightsError(f"{url} answered {error.code} {error.reason}.") from error
            target.unlink(missing_ok=True)  # longer than the file there: not ours to continue
        except (urllib.error.URLError, ssl.SSLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise WeightsError(f"{url} cannot be reached ({reason}).") from error
        else:
            return
    raise WeightsError(f"{url} refuses to be continued; try again later.")


def _once(url: str, target: Path, limit: int, report: Report, end: float) -> None:
    have = target.stat().st_size if target.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "respool", "Accept-Encoding": "identity"})  # noqa: S310 - checked
    if have:
        request.add_header("Range", f"bytes={have}-")
    with _opener().open(request, timeout=_SILENCE_S) as answer:
        length = answer.headers.get("Content-Length", "")
        total = int(length) if re.fullmatch("[0-9]{1,15}", length) else None
        if answer.status == 206 and re.match(rf"bytes {have}-", answer.headers.get("Content-Range", "")):
            total = total + have if total is not None else None
        else:
            have = 0  # the server sends the whole file
        if (total or 0) > limit:
            raise WeightsError(f"{url} has {total} bytes, but {limit} are expected at most.")
        with target.open("ab" if have else "wb") as out:
            while True:
                report(have, total)
                try:
                    block = answer.read(_BLOCK)
                except (TimeoutError, ConnectionError, http.client.HTTPException, ssl.SSLError) as error:
                    raise _Broken(f"{type(error).__name__} after {have} bytes") from error
                if not block:
                    break
                have += len(block)
                if have > limit:
                    out.truncate(0)
                    raise WeightsError(f"{url} sends more than the {limit} bytes that are expected.")
                if time.monotonic() > end:
                    raise WeightsError(f"{url} is too slow: {have} bytes in {_LIMIT_S / 3600:.0f} hours.")
                out.write(block)
        if total is not None and have < total:
            raise _Broken(f"{have} of {total} bytes")
