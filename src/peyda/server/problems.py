"""Errors as RFC 9457 problem documents; owns the one table from error classes to HTTP statuses.

Every reply that is not a success, whoever raised it, is `application/problem+json` with `type` (the name of the error
class, so that a client can raise the same class again), `title`, `status`, `detail` and `hint`.
Source: https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from peyda import errors
from peyda.server.replies import AsciiJSONResponse

STATUS_OF_ERROR: dict[type[errors.PeydaError], int] = {
    errors.PeydaError: 500,
    errors.ConfigError: 400,
    errors.QueryError: 400,
    errors.DataError: 422,
    errors.ImageRefused: 422,
    errors.ModelError: 500,
    errors.GalleryError: 500,
    errors.GalleryNotFound: 404,
    errors.GalleryMismatch: 409,
    errors.GalleryTooNew: 409,
    errors.GalleryCorrupt: 500,
    errors.GalleryBusy: 503,
    errors.EngineError: 500,
    errors.StorageError: 507,
    errors.ServerError: 502,
}

RETRY_AFTER_S = 2


class Problem(Exception):
    """A refusal that belongs to HTTP alone: a photograph that is gone, a body that is too large, a strange host.

    Args:
        kind: What the document's `type` says, e.g. "PhotoNotFound".
        status: HTTP status.
        detail: What happened, in one sentence.
        hint: What to do about it.
    """

    def __init__(self, kind: str, status: int, detail: str, *, hint: str = "") -> None:
        super().__init__(detail)
        self.kind = kind
        self.status = status
        self.detail = detail
        self.hint = hint


def status_of(error: errors.PeydaError) -> int:
    """The HTTP status of an error: that of its own class, or of its nearest mapped ancestor."""
    for kind in type(error).__mro__:
        if kind in STATUS_OF_ERROR:
            return STATUS_OF_ERROR[kind]
    return 500


def problem_response(
    kind: str, status: int, detail: str, *, hint: str = "", headers: dict[str, str] | None = None, **extra: Any
) -> AsciiJSONResponse:
    """One problem document. `extra` members are added as RFC 9457 allows (e.g. `reason` of a refused image)."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    body = {"type": kind, "title": title, "status": status, "detail": detail, "hint": hint, **extra}
    return AsciiJSONResponse(body, status_code=status, headers=headers, media_type="application/problem+json")


def problem_of_error(error: errors.PeydaError) -> AsciiJSONResponse:
    """The problem document of any error of the tree."""
    status = status_of(error)
    extra = {"reason": error.reason} if isinstance(error, errors.ImageRefused) else {}
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
    return problem_response(type(error).__name__, status, error.message, hint=error.hint, headers=headers, **extra)


def _validation_detail(error: RequestValidationError) -> str:
    parts = []
    for item in error.errors():
        where = ".".join(str(step) for step in item.get("loc", ())[1:]) or "request"
        parts.append(f"{where}: {item.get('msg', 'invalid')}")
    return "; ".join(parts) or "The request is not valid."


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of `app` a problem document."""

    @app.exception_handler(errors.PeydaError)
    async def _peyda(request: Request, error: Exception) -> Response:
        assert isinstance(error, errors.PeydaError)
        return problem_of_error(error)

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return problem_response(error.kind, error.status, error.detail, hint=error.hint)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(
            "RequestError", 422, _validation_detail(error), hint="/docs lists what each address takes."
        )

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = {404: "NotFound", 405: "MethodNotAllowed"}.get(error.status_code, "HTTPError")
        hint = "/docs lists every address of this server."
        headers = dict(error.headers) if error.headers else None
        return problem_response(kind, error.status_code, str(error.detail), hint=hint, headers=headers)

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> Response:
        # The traceback goes to the server's log (Starlette raises it again), never to the other side.
        return problem_response(
            "InternalError",
            500,
            "Something unexpected went wrong in the server.",
            hint="The terminal where `peyda serve` runs shows what; please report it.",
        )
