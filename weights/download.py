"""Download of one file over HTTP, resumed where an earlier try stopped."""

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
"""Seconds without data after which a connection is given up."""
_LIMIT_S = 6 * 3600
"""Longest time of a download: enough for the largest file at 128 kbit/s."""
_TRIES = 4
"""Connections in one call. Each one continues where the last stopped."""


def check_url(url: str) -> None:
    """Raise WeightsError unless `url` is http(s) with a host and without credentials (records would store them)."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise WeightsError(f"{url[:200]!r} is not an allowed URL for weights; use an http or https URL.")
    if parts.username or parts.password:
        raise WeightsError(f"the URL of {parts.hostname} contains credentials; use s3:// or a local file instead.")


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        check_url(newurl)
        if req.type == "https" and not newurl.startswith("https:"):
            raise WeightsError(
                f"{req.full_url} redirects to {newurl[:200]!r}, which is not encrypted and not followed; use another source."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type] # typeshed wants HTTPMessage


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for http and https only; the default opener also handles file:, ftp: and data:."""
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
    """Raised when a connection ends early; the received bytes are kept, and the next connection continues there."""


def download(url: str, target: Path, limit: int, report: Report) -> None:
    """Download `url` to `target`, at most `limit` bytes; continue a partial file that is already there.

    `report` receives the bytes downloaded and the total (None if the server does not announce it). Raises WeightsError with the URL
    and the reason; the received bytes stay in `target` for the next call.
    """
    check_url(url)
    end = time.monotonic() + _LIMIT_S
    for tried in range(_TRIES):
        try:
            _once(url, target, limit, report, end)
        except _Broken as error:
            if tried == _TRIES - 1:
                raise WeightsError(
                    f"the download of {url} was interrupted {_TRIES} times ({error}); try again to continue it."
                ) from error
        except urllib.error.HTTPError as error:
            if error.code != 416:
                raise WeightsError(f"{url} answered {error.code} {error.reason}.") from error
            target.unlink(missing_ok=True)  # it is longer than the server's file, so it belongs to another file
        except (urllib.error.URLError, ssl.SSLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise WeightsError(f"{url} cannot be reached ({reason}).") from error
        else:
            return
    raise WeightsError(f"the server of {url} refuses to continue a partial download; try again later.")


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
            have = 0  # the server ignores the range and sends the whole file
        if (total or 0) > limit:
            raise WeightsError(f"{url} has {total} bytes, but at most {limit} are expected.")
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
                    raise WeightsError(f"{url} sends more than the expected {limit} bytes.")
                if time.monotonic() > end:
                    raise WeightsError(f"{url} is too slow: {have} bytes in {_LIMIT_S / 3600:.0f} hours.")
                out.write(block)
        if total is not None and have < total:
            raise _Broken(f"{have} of {total} bytes")
