"""Every error becomes an RFC 9457 document with the right status, and nothing of the inside leaks out."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI

from peyda import errors
from peyda.server.problems import STATUS_OF_ERROR, Problem, install_problem_handlers, status_of
from peyda.server.replies import AsciiJSONResponse

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.PeydaError)]
LEAVES = [kind for kind in TREE if not set(TREE) & set(kind.__subclasses__())]
MEMBERS = {"type", "title", "status", "detail", "hint"}


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(app: FastAPI, path: str, method: str = "GET") -> Reply:
    """One request straight into the application."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    # Starlette answers and then raises again, so that the server logs it.
    with contextlib.suppress(ZeroDivisionError):
        asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return Reply(sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]))


def app_that_raises(error: Exception) -> FastAPI:
    app = FastAPI()
    install_problem_handlers(app)

    @app.get("/raise/{number}")
    def fail(number: int) -> None:
        raise error

    return app


def make(kind: type[errors.PeydaError]) -> errors.PeydaError:
    if kind is errors.ImageRefused:
        return errors.ImageRefused("truncated", "the photograph ends early", hint="copy it again")
    return kind("something happened", hint="run this")


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_every_leaf_is_mapped_to_an_error_status(kind: type[errors.PeydaError]) -> None:
    assert kind in STATUS_OF_ERROR, f"add {kind.__name__} to peyda.server.problems.STATUS_OF_ERROR"
    assert 400 <= STATUS_OF_ERROR[kind] <= 599


def test_an_unmapped_subclass_takes_its_ancestors_status() -> None:
    class Stranger(errors.GalleryNotFound):
        pass

    assert status_of(Stranger("x")) == STATUS_OF_ERROR[errors.GalleryNotFound]


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_errors_become_problem_documents(kind: type[errors.PeydaError]) -> None:
    error = make(kind)
    reply = ask(app_that_raises(error), "/raise/1")
    assert reply.status == STATUS_OF_ERROR[kind]
    assert reply.headers["content-type"] == "application/problem+json"
    assert set(reply.json) >= MEMBERS
    assert reply.json["type"] == kind.__name__
    assert reply.json["status"] == reply.status
    assert (reply.json["detail"], reply.json["hint"]) == (error.message, error.hint)
    assert reply.json.get("reason") == ("truncated" if kind is errors.ImageRefused else None)


def test_a_busy_gallery_says_when_to_come_back() -> None:
    reply = ask(app_that_raises(errors.GalleryBusy("indexing")), "/raise/1")
    assert int(reply.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("path", "method", "status", "kind"),
    [
        ("/nowhere", "GET", 404, "NotFound"),
        ("/raise/1", "DELETE", 405, "MethodNotAllowed"),
        ("/raise/seven", "GET", 422, "RequestError"),
    ],
)
def test_refusals_of_the_framework_are_problem_documents_too(path: str, method: str, status: int, kind: str) -> None:
    reply = ask(app_that_raises(ValueError()), path, method)
    assert reply.headers["content-type"] == "application/problem+json"
    assert (reply.status, reply.json["type"], reply.json["status"]) == (status, kind, status)
    assert reply.json["hint"]


def test_a_problem_of_our_own_keeps_its_words() -> None:
    reply = ask(app_that_raises(Problem("PhotoVanished", 404, "it is gone", hint="plug it in")), "/raise/1")
    assert reply.json == {
        "type": "PhotoVanished",
        "title": "Not Found",
        "status": 404,
        "detail": "it is gone",
        "hint": "plug it in",
    }


def test_an_unexpected_error_does_not_show_its_insides() -> None:
    reply = ask(app_that_raises(ZeroDivisionError("/secret/path")), "/raise/1")
    assert (reply.status, reply.json["type"]) == (500, "InternalError")
    assert b"secret" not in reply.body
    assert b"ZeroDivision" not in reply.body


def test_json_carries_lone_surrogates_and_stays_ascii() -> None:
    value = {"path": "/عکس/caf\udce9.jpg"}
    body = AsciiJSONResponse(value).body
    assert bytes(body).isascii()
    assert json.loads(bytes(body)) == value
