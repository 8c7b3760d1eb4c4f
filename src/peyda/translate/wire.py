"""One HTTP POST of JSON to a service, with the standard library: what came back, or why nothing did.

Makes one attempt, follows no redirects (a POST must not become a GET, and a key must not travel), keeps a deadline
however slowly bytes drip, and honours the usual proxy variables. Source: RFC 9110 (status classes, Retry-After).
"""

from __future__ import annotations

import email.utils
import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit

from peyda._version import __version__
from peyda.errors import ConfigError
from peyda.translate.protocol import Failed

_CHUNK_BYTES = 65_536
_LIMIT_BYTES = 16_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said: status, `Retry-After` in seconds (0 when absent), the body."""

    status: int
    wait_s: float
    body: bytes

    def json(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Wire:
    """Posts JSON; thread-safe.

    Args:
        timeout_s: Longest time of one exchange, seconds.
        headers: Sent with every request.
    """

    def __init__(self, timeout_s: float, headers: Mapping[str, str]) -> None:
        self._timeout_s = timeout_s
        self._headers = {"User-Agent": f"peyda/{__version__}", "Accept": "application/json", **headers}
        self._opener = urllib.request.build_opener(_NoRedirects)

    def post(self, address: str, payload: object) -> Answer | Failed:
        """Send `payload`; any status is an `Answer`, and `Failed` is what has none."""
        data = json.dumps(payload, ensure_ascii=True).encode()
        headers = {**self._headers, "Content-Type": "application/json"}
        request = urllib.request.Request(address, data=data, headers=headers, method="POST")
        deadline = time.monotonic() + self._timeout_s
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                return self._read(response, response.status, response.headers.get("Retry-After"), deadline)
        except urllib.error.HTTPError as error:
            with error:
                return self._read_error(error, deadline)
        except urllib.error.URLError as error:
            return _unreachable(error.reason)
        except (OSError, http.client.HTTPException) as error:
            return _broken(error)

    def _read_error(self, error: urllib.error.HTTPError, deadline: float) -> Answer | Failed:
        try:
            return self._read(error, error.code, error.headers.get("Retry-After"), deadline)
        except (OSError, http.client.HTTPException):
            return Answer(error.code, retry_after_s(error.headers.get("Retry-After")), b"")

    def _read(self, response: IO[bytes], status: int, retry_after: str | None, deadline: float) -> Answer | Failed:
        body = bytearray()
        read = getattr(response, "read1", response.read)
        while chunk := read(_CHUNK_BYTES):
            body += chunk
            if time.monotonic() > deadline:
                return Failed("timeout", may_pass=True)
            if len(body) > _LIMIT_BYTES:
                return Failed("not_json", f"an answer of more than {_LIMIT_BYTES // 1_000_000} MB", may_pass=True)
        left = getattr(response, "length", None)
        if left:  # read1 says nothing when the connection ends before the announced length
            return Failed("broken_off", may_pass=True)
        return Answer(status, retry_after_s(retry_after), bytes(body))


def _unreachable(cause: object) -> Failed:
    if isinstance(cause, TimeoutError):
        return Failed("timeout", may_pass=True)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Failed("unreachable", "its certificate cannot be trusted", may_pass=True)
    if isinstance(cause, ConnectionResetError | BrokenPipeError):
        return Failed("broken_off", may_pass=True)
    return Failed("unreachable", may_pass=True)


def _broken(cause: Exception) -> Failed:
    return Failed("timeout" if isinstance(cause, TimeoutError) else "broken_off", may_pass=True)


def retry_after_s(value: str | None) -> float:
    """Seconds of a Retry-After header: a number or a date; 0 for none, for nonsense, and for the past.

    >>> retry_after_s("7"), retry_after_s("soon"), retry_after_s(None)
    (7.0, 0.0, 0.0)
    """
    text = (value or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0.0
    return max(0.0, date.timestamp() - time.time())


def checked_address(address: str, flag: str = "--base-url") -> str:
    """`address` without a slash at its end.

    Raises:
        ConfigError: It is no http or https address.
    """
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - reading it checks it
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        is_web = False
    if not is_web or not address.isprintable() or " " in address:
        raise ConfigError(f"{flag} is no web address: {address!r}", hint="it looks like http://127.0.0.1:8080/v1")
    return address.rstrip("/")
