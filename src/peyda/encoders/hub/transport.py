"""HTTP as a model hub and its content network speak it, with the standard library alone.

Owns single requests: the token goes to the hub and to nobody else, redirects stay on the web and never fall back from
https to http, silence has an end, and a proxy of the environment (`HTTPS_PROXY`) is used. Sources: RFC 9110 (Range,
If-Range, Retry-After, status classes); the hub's `/api/models` and `/resolve` addresses.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import socket
import ssl
import threading
import urllib.error
import urllib.request
import weakref
from collections.abc import Iterator, Mapping
from email.message import Message
from typing import IO, Any
from urllib.parse import urlsplit

from peyda._version import __version__
from peyda.captions.web.address import parse_address
from peyda.captions.web.client import retry_after_s
from peyda.captions.web.failures import WebFailure

_LISTING_LIMIT_BYTES = 30_000_000
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class HubFailure(WebFailure):
    """As `WebFailure`; `code` is what the hub says in `X-Error-Code`, such as "RepoNotFound" or "GatedRepo"."""

    def __init__(self, reason: str, detail: str = "", *, wait_s: float = 0.0, code: str = "") -> None:
        super().__init__(reason, detail, wait_s=wait_s)
        self.code = code


class Transport:
    """Sends GET requests; thread-safe.

    Args:
        endpoint: Base address of the hub, such as "https://huggingface.co".
        token: Said to the endpoint, if that is https or this machine; to no other host, redirects included.
        timeout_s: Longest silence of a server.

    Raises:
        WebFailure: The endpoint is no address of the web.
    """

    def __init__(self, endpoint: str, *, token: str = "", timeout_s: float = 30.0) -> None:
        address = parse_address(endpoint.rstrip("/"))
        self.endpoint = str(address).rstrip("/")
        self._origin = _origin(self.endpoint)
        self._token = token if address.scheme == "https" or address.host in _LOOPBACK else ""
        self._timeout_s = timeout_s
        self._is_stopped = threading.Event()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._opener = urllib.request.build_opener(_Redirects(self), _Http(self._sockets), _Https(self._sockets))
        self._opener.addheaders = [("User-Agent", f"peyda/{__version__}")]

    def stop(self) -> None:
        """End the requests that are under way, and every later one."""
        self._is_stopped.set()
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def pause(self, seconds: float) -> None:
        """Wait, unless `stop` is called meanwhile.

        Raises:
            HubFailure: It was.
        """
        if self._is_stopped.wait(seconds):
            raise HubFailure("stopped")

    def get_json(self, url: str) -> Any:
        """The JSON value at an address.

        Raises:
            HubFailure: It cannot be had, or is none.
        """
        with self.open(url) as response:
            body = bytearray()
            for chunk in self.chunks(response):
                body += chunk
                if len(body) > _LISTING_LIMIT_BYTES:
                    raise HubFailure("too_large", f"more than {_LISTING_LIMIT_BYTES:,} bytes")
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise HubFailure("bad_json", "the reply is no JSON") from error

    @contextlib.contextmanager
    def open(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[http.client.HTTPResponse]:
        """A reply with status 200 or 206, open for the block.

        Raises:
            HubFailure: Anything else came, or nothing.
        """
        request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", **(headers or {})})
        self.sign(request)
        with self._failures():
            self.pause(0)
            response = self._opener.open(request, timeout=self._timeout_s)
        with contextlib.closing(response):
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise HubFailure("bad_encoding", response.headers["Content-Encoding"][:80])
            yield response

    def chunks(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        """The body of a reply as it comes.

        Raises:
            HubFailure: It ends before its announced end.
        """
        announced = response.headers.get("Content-Length", "")
        left = int(announced) if announced.isdecimal() else None
        while True:
            with self._failures():
                self.pause(0)
                chunk = response.read1(1 << 20)
            if not chunk:
                break
            if left is not None:
                left -= len(chunk)
            yield chunk
        if left:
            raise HubFailure("stopped" if self._is_stopped.is_set() else "cut_short")

    def sign(self, request: urllib.request.Request) -> None:
        """Put the token on a request to the hub itself."""
        if self._token and _origin(request.full_url) == self._origin:
            # "Unredirected", so that urllib does not carry it along to wherever the hub redirects.
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except WebFailure:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            if self._is_stopped.is_set():
                raise HubFailure("stopped") from error
            raise _failure(error) from error


def _failure(error: Exception) -> HubFailure:
    if isinstance(error, urllib.error.HTTPError):
        return _of_status(error)
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return HubFailure("timeout")
    if isinstance(cause, socket.gaierror):
        return HubFailure("dns")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return HubFailure("tls", cause.verify_message)
    if isinstance(cause, http.client.IncompleteRead):
        return HubFailure("cut_short")
    if isinstance(cause, OSError):
        return HubFailure("unreachable", cause.strerror or type(cause).__name__)
    return HubFailure("bad_reply", type(cause).__name__)


def _of_status(error: urllib.error.HTTPError) -> HubFailure:
    headers: Message = error.headers
    with error:
        return HubFailure(
            f"http_{error.code}",
            " ".join(headers.get("X-Error-Message", "").split())[:200],
            wait_s=retry_after_s(headers.get("Retry-After", "")),
            code=headers.get("X-Error-Code", "")[:40],
        )


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects go to the web only (urllib would follow ftp too), never from https to http, and without the token."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        parts = urlsplit(newurl)
        if parts.scheme not in ("http", "https") or (req.type == "https" and parts.scheme != "https"):
            fp.close()  # urllib leaves it to whoever follows the redirect
            raise HubFailure("redirect", "to an address that is not safe to follow")
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None:
            self._transport.sign(following)
        return following


class _Connection(http.client.HTTPConnection):
    """Keeps its socket where `Transport.stop` finds it."""

    def __init__(self, sockets: weakref.WeakSet[socket.socket], host: str, **options: Any) -> None:
        super().__init__(host, **options)
        self._sockets = sockets

    def connect(self) -> None:
        super().connect()
        self._sockets.add(self.sock)


class _SecureConnection(http.client.HTTPSConnection):
    def __init__(self, sockets: weakref.WeakSet[socket.socket], host: str, **options: Any) -> None:
        super().__init__(host, **options)
        self._sockets = sockets

    def connect(self) -> None:
        super().connect()
        self._sockets.add(self.sock)


class _Http(urllib.request.HTTPHandler):
    def __init__(self, sockets: weakref.WeakSet[socket.socket]) -> None:
        super().__init__()
        self._factory: Any = functools.partial(_Connection, sockets)

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._factory, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, sockets: weakref.WeakSet[socket.socket]) -> None:
        super().__init__()
        self._tls = ssl.create_default_context()
        self._factory: Any = functools.partial(_SecureConnection, sockets, context=self._tls)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._factory, req)
