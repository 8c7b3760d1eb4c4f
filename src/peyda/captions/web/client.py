"""One careful HTTP request: checked addresses, at every redirect; limits on size, silence, time and type.

The standard library's connection, pinned to an address that was checked. One request a connection, no cookies, no
credentials. Sources: RFC 9110 (status codes, Retry-After), RFC 9112.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, cast

from peyda._version import __version__
from peyda.captions.web.address import Address, look_up, parse_address
from peyda.captions.web.failures import WebFailure

_CHUNK_BYTES = 65_536
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_NOT_FOR_TRAINING = ("noai", "noimageai")

USER_AGENT = f"peyda/{__version__} (builds Persian photo captions)"


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply. `url` is where it came from in the end; header names are lower case."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            WebFailure: "bad_json".
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise WebFailure("bad_json", "the reply is no JSON") from error


class WebClient:
    """Sends requests; thread-safe, and without memory between two of them.

    Args:
        timeout_s: Longest silence of a host.
        deadline_s: Longest time of one request with its redirects, however steadily bytes drip.
        allow_private: Whether this machine and private networks may be asked: for a mirror of one's own, and tests.
        user_agent: Who is asking; a contact address in it is polite.
        clock: Seconds that only grow; a test's way to shorten waits.
    """

    def __init__(
        self,
        *,
        timeout_s: float = 20.0,
        deadline_s: float = 120.0,
        allow_private: bool = False,
        user_agent: str = USER_AGENT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        self._allow_private = allow_private
        self._user_agent = user_agent
        self._clock = clock
        self._tls = ssl.create_default_context()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._is_stopped = False

    def get(self, url: str, *, limit_bytes: int, kinds: tuple[str, ...] = ()) -> Reply:
        """GET an address, redirects followed.

        Args:
            url: http or https.
            limit_bytes: A longer body is refused, before it is read where its length is announced.
            kinds: What the media type may begin with; empty takes any. A reply without a type is taken.

        Raises:
            WebFailure: It could not be had.
        """
        return self._follow(parse_address(url), "GET", None, limit_bytes, kinds)

    def post_json(self, url: str, value: object, *, limit_bytes: int) -> Reply:
        """POST a JSON value; redirects are refused.

        Raises:
            WebFailure: It could not be had.
        """
        body = json.dumps(value, ensure_ascii=False).encode("utf-8")
        return self._follow(parse_address(url), "POST", body, limit_bytes, ("application/json",))

    def _follow(self, address: Address, method: str, body: bytes | None, limit: int, kinds: tuple[str, ...]) -> Reply:
        deadline = self._clock() + self._deadline_s
        for _ in range(_MOST_REDIRECTS + 1):
            reply = self._once(address, method, body, limit, kinds, deadline)
            if reply.status not in _REDIRECTS:
                return reply
            location = reply.headers.get("location", "")
            if not location or method != "GET":
                raise WebFailure("redirect", "it redirects to nowhere")
            following = parse_address(location, address)
            if address.scheme == "https" and following.scheme != "https":
                raise WebFailure("redirect", "from https to http")
            address = following
        raise WebFailure("redirect", "too often")

    def _once(
        self, address: Address, method: str, body: bytes | None, limit: int, kinds: tuple[str, ...], deadline: float
    ) -> Reply:
        headers = {"User-Agent": self._user_agent, "Accept-Encoding": "identity", "Connection": "close"}
        if body is not None:
            headers |= {"Content-Type": "application/json", "Accept": "application/json"}
        try:
            with self._socket(address, deadline) as opened:
                # http.client would look the host up again: it gets the open socket, and the name for its header.
                connection = http.client.HTTPConnection(address.netloc)
                connection.sock = cast("socket.socket", _TimedSocket(opened, lambda: self._patience_s(deadline)))
                connection.request(method, address.target, body, headers)
                with contextlib.closing(connection.getresponse()) as response:
                    return self._read(address, response, limit, kinds)
        except WebFailure:
            raise
        except TimeoutError as error:
            raise WebFailure("timeout") from error
        except ssl.SSLCertVerificationError as error:
            raise WebFailure("tls", error.verify_message) from error
        except http.client.IncompleteRead as error:
            raise WebFailure("cut_short") from error
        except (ConnectionResetError, http.client.RemoteDisconnected) as error:
            raise WebFailure("unreachable", "it hung up") from error
        except (http.client.HTTPException, ValueError) as error:
            raise WebFailure("bad_reply", type(error).__name__) from error
        except OSError as error:
            raise WebFailure("unreachable", error.strerror or type(error).__name__) from error

    @contextlib.contextmanager
    def _socket(self, address: Address, deadline: float) -> Iterator[socket.socket]:
        """A socket that is open for the block; `stop` may shut it."""
        opened = self._connect(address, deadline)
        try:
            if address.scheme == "https":
                opened.settimeout(self._patience_s(deadline))
                opened = self._tls.wrap_socket(opened, server_hostname=address.host)
            with self._lock:
                self._open.add(opened)
            yield opened
        finally:
            with self._lock:
                self._open.discard(opened)
            opened.close()

    def _connect(self, address: Address, deadline: float) -> socket.socket:
        """A connection to one of the host's checked addresses."""
        failure: OSError | None = None
        for ip in look_up(address, allow_private=self._allow_private):
            try:
                return socket.create_connection((ip, address.port), self._patience_s(deadline))
            except OSError as error:
                failure = error
        raise failure or OSError("no address")

    def stop(self) -> None:
        """End all requests that are under way, and every one that begins after: they time out at once."""
        self._is_stopped = True
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _patience_s(self, deadline: float) -> float:
        left = deadline - self._clock()
        if left <= 0 or self._is_stopped:
            raise TimeoutError
        return min(self._timeout_s, left)

    def _read(self, address: Address, response: http.client.HTTPResponse, limit: int, kinds: tuple[str, ...]) -> Reply:
        headers = {name.lower(): value for name, value in response.getheaders()}
        if response.status in _REDIRECTS:
            return Reply(str(address), response.status, headers, b"")
        if response.status != 200:
            raise WebFailure(f"http_{response.status}", wait_s=retry_after_s(headers.get("retry-after", "")))
        if any(word in headers.get("x-robots-tag", "").lower() for word in _NOT_FOR_TRAINING):
            raise WebFailure("disallowed", "X-Robots-Tag")
        kind = headers.get("content-type", "").lower().strip()
        if kinds and kind and not kind.startswith(kinds):
            raise WebFailure("wrong_type", kind[:80])
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise WebFailure("bad_encoding", headers["content-encoding"][:80])
        return Reply(str(address), response.status, headers, _body(response, limit))


class _TimedSocket:
    """A socket whose every operation waits no longer than there is time left; what http.client needs of one."""

    def __init__(self, inner: socket.socket, patience_s: Callable[[], float]) -> None:
        self._inner = inner
        self._patience_s = patience_s

    def sendall(self, data: bytes) -> None:
        self._inner.settimeout(self._patience_s())
        self._inner.sendall(data)

    def makefile(self, mode: str, *_: object, **__: object) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._inner, self._patience_s))

    def close(self) -> None:
        """http.client closes its socket while the reply is still being read; whoever opened it closes this one."""


class _TimedReader(io.RawIOBase):
    def __init__(self, inner: socket.socket, patience_s: Callable[[], float]) -> None:
        self._inner = inner
        self._patience_s = patience_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._inner.settimeout(self._patience_s())
        return self._inner.recv_into(buffer)


def _body(response: http.client.HTTPResponse, limit: int) -> bytes:
    expected = response.length  # None where it is chunked, or ends with the connection
    too_large = WebFailure("too_large", f"more than {limit:,} bytes")
    if expected is not None and expected > limit:
        raise too_large
    body = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        body += chunk
        if len(body) > limit:
            raise too_large
    if expected is not None and len(body) < expected:
        raise WebFailure("cut_short")
    return bytes(body)


def retry_after_s(value: str) -> float:
    """Seconds of a Retry-After header, in either of its two forms; 0 where it says nothing.

    >>> retry_after_s("120"), retry_after_s("soon")
    (120.0, 0.0)
    """
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
