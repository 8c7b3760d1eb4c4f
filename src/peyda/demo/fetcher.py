"""HTTP GET for strangers' servers, with the standard library alone: limits on size, time, type and redirects.

Retries what may pass (no connection, 408, 429, 5xx), waits as long as the server asks for within reason, and turns
every other ending into `Refused` with a short sentence. Source: RFC 9110 (Retry-After, status classes).
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from email.message import Message
from typing import IO, Any
from urllib.parse import urlsplit

from peyda._version import __version__

_CHUNK_BYTES = 65_536
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class Refused(Exception):
    """This one request has failed for good; the text says why, without the address, so that reasons can be counted."""


class _Passing(Exception):
    """This try has failed; another may not. `wait_s` is what the server asked for."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects go to the web only (urllib would follow ftp too), and never from https back to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not is_web_address(newurl) or (req.type == "https" and urlsplit(newurl).scheme != "https"):
            fp.close()  # urllib leaves it to whoever follows the redirect
            raise Refused("the service redirects to an address that is not safe to follow")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Fetcher:
    """Fetches addresses; thread-safe.

    Args:
        timeout_s: Longest silence of a server.
        deadline_s: Longest time of one try, however steadily bytes drip.
        tries: Tries in all.
        backoff_s: Wait before the second try; doubles each time.
        longest_wait_s: A server that asks for a longer wait is given up on.
    """

    def __init__(
        self,
        *,
        timeout_s: float = 15.0,
        deadline_s: float = 60.0,
        tries: int = 3,
        backoff_s: float = 0.5,
        longest_wait_s: float = 30.0,
    ) -> None:
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        self._tries = tries
        self._backoff_s = backoff_s
        self._longest_wait_s = longest_wait_s
        self._is_stopped = threading.Event()
        self._opener = urllib.request.build_opener(_SafeRedirects)
        self._opener.addheaders = [("User-Agent", f"peyda/{__version__} (photo search demo)")]

    def stop(self) -> None:
        """Let threads that wait for another try give up now."""
        self._is_stopped.set()

    def get_json(self, address: str, *, limit_bytes: int) -> Any:
        """The JSON value at `address`.

        Raises:
            Refused: It could not be had, or is no JSON.
        """
        data = self.get_bytes(address, limit_bytes=limit_bytes, kind="application/json")
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise Refused("the service answered with something that is not JSON") from error

    def get_bytes(self, address: str, *, limit_bytes: int, kind: str) -> bytes:
        """The whole body at `address`.

        Args:
            address: http or https.
            limit_bytes: A longer body is refused before it is read.
            kind: What its media type must begin with.

        Raises:
            Refused: It could not be had, is too long, or of another kind.
        """
        for turn in range(1, self._tries + 1):
            try:
                return self._once(address, limit_bytes, kind)
            except _Passing as error:
                wait_s = max(self._backoff_s * 2 ** (turn - 1), error.wait_s)
                if turn == self._tries or wait_s > self._longest_wait_s or self._is_stopped.wait(wait_s):
                    raise Refused(str(error)) from error
        raise AssertionError("a try either returns or raises")

    def _once(self, address: str, limit_bytes: int, kind: str) -> bytes:
        deadline = time.monotonic() + self._deadline_s
        try:
            with self._opener.open(address, timeout=self._timeout_s) as response:
                media_type = response.headers.get("Content-Type", "").lower()
                if not media_type.startswith(kind):
                    raise Refused(f"the service answered with another type than {kind.rstrip('/')}")
                return _body(response, limit_bytes, deadline)
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"the service answered with status {error.code}"
            if error.code in _PASSING:
                raise _Passing(reason, _retry_after_s(error.headers)) from error
            raise Refused(reason) from error
        except TimeoutError as error:
            raise _Passing("the service is too slow") from error
        except urllib.error.URLError as error:
            raise _unreachable(error.reason) from error
        except http.client.HTTPException as error:
            raise _Passing("the service broke off") from error
        except OSError as error:
            raise _unreachable(error) from error


def _body(response: http.client.HTTPResponse, limit_bytes: int, deadline: float) -> bytes:
    announced = response.headers.get("Content-Length", "")
    expected = int(announced) if announced.isdecimal() else None
    body = bytearray()
    too_long = Refused("the service answered with more bytes than a photograph may have")
    if expected is not None and expected > limit_bytes:
        raise too_long
    while chunk := response.read1(_CHUNK_BYTES):
        body += chunk
        if len(body) > limit_bytes:
            raise too_long
        if time.monotonic() > deadline:
            raise _Passing("the service is too slow")
    if expected is not None and len(body) != expected:
        raise _Passing("the service broke off")
    return bytes(body)


def _unreachable(cause: object) -> Exception:
    if isinstance(cause, TimeoutError):
        return _Passing("the service is too slow")
    if isinstance(cause, socket.gaierror):
        return _Passing("its name cannot be looked up (is there a network?)")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Refused("its certificate cannot be trusted")
    return _Passing("it cannot be reached (is there a network?)")


def _retry_after_s(headers: Message) -> float:
    """Seconds of a Retry-After header; its form with a date is rare, and then our own wait serves."""
    value = headers.get("Retry-After", "").strip()
    return float(value) if value.isascii() and value.isdecimal() else 0.0


def is_web_address(address: str) -> bool:
    """True for http and https addresses with a host and nothing odd in them.

    >>> is_web_address("https://example.org/a"), is_web_address("file:///etc/passwd")
    (True, False)
    """
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and address.isprintable() and " " not in address
