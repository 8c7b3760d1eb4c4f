"""Searches through the server that holds a gallery, over loopback and with the standard library alone.

A running server has the model and the vectors warm already. What it answers is what a local search answers; so
whenever it is gone, stuck, or says something unexpected, `NotAnswered` tells the caller to search locally instead.
Errors of the tree that the server reports (problem documents, RFC 9457) are raised again as their own class.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from peyda import errors
from peyda.types import Hit

HEALTH_TIMEOUT_S = 2.0
"""A live server answers this in milliseconds; a stuck one must not hold the caller up for long."""

SEARCH_TIMEOUT_S = 10.0
TARGET_LIMIT_CHARS = 500_000
"""Longest address that the server is sure to read; longer queries are answered locally."""

BODY_LIMIT_BYTES = 64 * 1_000_000
_REPLY_LIMIT_BYTES = 64 * 1_000_000


class NotAnswered(Exception):
    """The server cannot answer this: search locally. Never leaves `peyda.client`.

    Args:
        why: For the log.
        is_gone: True when asking again soon is no use: no server is there, or it is stuck.
    """

    def __init__(self, why: str, *, is_gone: bool = False) -> None:
        super().__init__(why)
        self.is_gone = is_gone


class RemoteGallery:
    """One gallery behind one server. Thread-safe: every thread borrows a connection of its own.

    Args:
        url: The server's address; only `http://` on a loopback address is ever spoken to.
        gallery_id: The gallery that it must hold; another program may have taken over the port.

    Raises:
        NotAnswered: The address is not one of this machine's own.
    """

    def __init__(self, url: str, gallery_id: str) -> None:
        self._host, self._port = _loopback(url)
        self._gallery_id = gallery_id
        self._model = ""
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def model(self) -> str:
        """Name of the model that the server searches with.

        Raises:
            NotAnswered: There is no such server any more.
        """
        connection, _ = self._borrow()
        self._give_back(connection)
        return self._model

    def search(self, query: str, params: Mapping[str, str]) -> list[Hit]:
        """Hits for an already normalised query.

        Raises:
            NotAnswered: Search locally instead.
            PeydaError: What the server refused the query for.
        """
        return _hits(self._ask("GET", "/api/search", {"q": query, **params}))

    def search_like(self, data: bytes, params: Mapping[str, str]) -> list[Hit]:
        """Hits that look like the photograph whose file's bytes are given. Raises as `search` does."""
        if len(data) > BODY_LIMIT_BYTES:
            raise NotAnswered("the photograph is larger than servers take")
        return _hits(self._ask("POST", "/api/search/image", params, data))

    def similar(self, photo_id: int, params: Mapping[str, str]) -> list[Hit]:
        """Hits that look like a photograph of the gallery. Raises as `search` does."""
        return _hits(self._ask("GET", f"/api/photos/{photo_id}/similar", params))

    def close(self) -> None:
        """Close idle connections; idempotent."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _ask(self, method: str, path: str, params: Mapping[str, str], body: bytes | None = None) -> Any:
        try:
            target = path + ("?" + urlencode(params, errors="surrogateescape", quote_via=quote) if params else "")
        except UnicodeEncodeError as error:  # half a character, which no name on disk holds either
            raise NotAnswered("an address cannot carry that text") from error
        if len(target) > TARGET_LIMIT_CHARS:
            raise NotAnswered("the query is longer than servers read")
        is_kept = True
        while is_kept:
            connection, is_kept = self._borrow()
            try:
                reply = _exchange(connection, method, target, body)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if is_kept and not isinstance(error, TimeoutError):
                    continue  # the server has closed a kept connection meanwhile: ask again on a new one
                raise NotAnswered(f"no Peyda server answers: {error}", is_gone=True) from error
            except BaseException:
                connection.close()  # Ctrl-C in the middle of an answer: the rest must not become the next one
                raise
            self._give_back(connection)
            return _read_reply(*reply)
        raise NotAnswered("no Peyda server answers", is_gone=True)

    def _borrow(self) -> tuple[http.client.HTTPConnection, bool]:
        """A connection for this thread alone, and whether it was kept from an earlier search."""
        with self._lock:
            if self._idle:
                return self._idle.pop(), True
        return self._connect(), False

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle.append(connection)

    def _connect(self) -> http.client.HTTPConnection:
        """A connection on which a server of this very gallery has answered."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=HEALTH_TIMEOUT_S)
        try:
            health = _read_reply(*_exchange(connection, "GET", "/api/health", None))
            if not isinstance(health, dict) or health.get("gallery_id") != self._gallery_id:
                raise NotAnswered("another server has taken that address over", is_gone=True)
            self._model = str(health.get("model", ""))
            connection.timeout = SEARCH_TIMEOUT_S
            if connection.sock is not None:
                connection.sock.settimeout(SEARCH_TIMEOUT_S)
            return connection
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise NotAnswered(f"no Peyda server answers: {error}", is_gone=True) from error
        except BaseException:
            connection.close()
            raise


def _loopback(url: str) -> tuple[str, int]:
    """Host and port of an address of this machine alone; a name is never looked up."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
        if host == "localhost":
            host = "127.0.0.1"
        is_own = parts.scheme == "http" and ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_own = False
    if not is_own:
        raise NotAnswered("the server's address is not one of this machine's own", is_gone=True)
    return host, port


def _exchange(
    connection: http.client.HTTPConnection, method: str, target: str, body: bytes | None
) -> tuple[int, str, bytes]:
    """Status, content type and body of one request.

    Raises:
        OSError, http.client.HTTPException: The connection failed, or the answer is no HTTP or endless.
    """
    headers = {"Accept": "application/json"}
    if body is not None:
        headers["Content-Type"] = "application/octet-stream"
    connection.request(method, target, body=body, headers=headers)
    response = connection.getresponse()
    data = response.read(_REPLY_LIMIT_BYTES)
    if not response.isclosed():
        raise http.client.HTTPException("the answer is too long")
    return response.status, response.headers.get_content_type(), data


def _read_reply(status: int, content_type: str, data: bytes) -> Any:
    """The decoded JSON of a success; the error of a problem document.

    Raises:
        NotAnswered: Neither of the two.
        PeydaError: What the problem document names.
    """
    try:
        value = json.loads(data)
    except ValueError as error:
        raise NotAnswered(f"no Peyda server answers: {error}", is_gone=True) from error
    if status == 200 and content_type == "application/json":
        return value
    if content_type == "application/problem+json" and isinstance(value, dict):
        raise _problem(value)
    raise NotAnswered("no Peyda server answers", is_gone=True)


def _problem(value: Mapping[str, Any]) -> Exception:
    """The error that a problem document stands for; `NotAnswered` for kinds that are not of our tree."""
    kind = getattr(errors, str(value.get("type", "")), None)
    detail, hint = str(value.get("detail", "")), str(value.get("hint", ""))
    if kind is errors.ImageRefused:
        return errors.ImageRefused(str(value.get("reason", "")), detail, hint=hint)
    if isinstance(kind, type) and issubclass(kind, errors.PeydaError):
        return kind(detail, hint=hint)
    return NotAnswered(detail)


def _hits(value: Any) -> list[Hit]:
    try:
        return [Hit.from_dict(hit) for hit in value["hits"]]
    except (KeyError, TypeError) as error:
        raise NotAnswered(f"no Peyda server answers: {error}", is_gone=True) from error
