"""The HTTP API: one function per address, each a translation between HTTP and `Service`.

Everything is under `/api`; refusals are problem documents (`peyda.server.problems`).
"""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import parse_qsl

import anyio
from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, Response

from peyda.images import decode_bytes
from peyda.search import parse_where
from peyda.server.files import converted, open_photo
from peyda.server.problems import Problem
from peyda.server.replies import (
    AsciiJSONResponse,
    HealthReply,
    PhotoReply,
    ProblemReply,
    SearchReply,
    SkippedListReply,
)
from peyda.server.service import Service
from peyda.server.thumbnails import THUMBNAIL_SIZES_PX, thumbnail
from peyda.types import Hit, Where

BODY_LIMIT_BYTES = 64 * 1_000_000
BODY_TIMEOUT_S = 120.0
SKIPPED_LIMIT = 1000
CACHE_CONTROL = "private, max-age=60, stale-while-revalidate=86400"

router = APIRouter(
    prefix="/api",
    default_response_class=AsciiJSONResponse,
    responses={"4XX": {"model": ProblemReply, "description": "A problem document (RFC 9457)."}},
)

K = Annotated[int, Query(description="How many photographs to answer with.", examples=[10])]
MinScore = Annotated[float | None, Query(description="Leave out photographs with a smaller score.")]
Folder = Annotated[str | None, Query(description="Only photographs in this folder of the server and below it.")]
After = Annotated[str | None, Query(description="Only photographs taken then or later: YYYY-MM-DD, any digits.")]
Before = Annotated[str | None, Query(description="Only photographs taken before that: YYYY-MM-DD, any digits.")]


def service_of(request: Request) -> Service:
    """The service of the app that got this request."""
    service: Service = request.app.state.service
    return service


def read_where(request: Request, after: str | None, before: str | None) -> Where:
    """The filters of a request. The folder is read as bytes, for its name may not be valid UTF-8."""
    query = request.scope["query_string"].decode("ascii", "surrogateescape")
    given = dict(parse_qsl(query, errors="surrogateescape", keep_blank_values=True))
    return parse_where(given.get("folder"), after, before)


@router.get("/health", summary="Is the server up, and what does it serve?", responses={200: {"model": HealthReply}})
def health(request: Request) -> Response:
    """Answers as soon as the model is ready."""
    return AsciiJSONResponse(service_of(request).health())


@router.get("/search", summary="Find photographs by describing them", responses={200: {"model": SearchReply}})
async def search(
    request: Request,
    q: Annotated[str, Query(description="What is in the photograph, in Persian or English.", examples=["سگ در برف"])],
    k: K = 10,
    min_score: MinScore = None,
    folder: Folder = None,
    after: After = None,
    before: Before = None,
) -> Response:
    """The nearest photographs, best first; `min(k, photos)` of them unless filters or `min_score` say otherwise."""
    service = service_of(request)

    def work() -> dict[str, Any]:
        start = time.perf_counter()
        where = read_where(request, after, before)
        with service.searching() as searcher:
            hits = searcher.search(q, k, min_score=min_score, where=where)
        return service.reply(q, hits, time.perf_counter() - start)

    return AsciiJSONResponse(await service.run(service.allowances.searches, work))


@router.post(
    "/search/image",
    summary="Find photographs that look like the one you send",
    responses={200: {"model": SearchReply}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The bytes of an image file, up to 64 MB.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def search_image(
    request: Request,
    k: K = 10,
    min_score: MinScore = None,
    folder: Folder = None,
    after: After = None,
    before: Before = None,
) -> Response:
    """The body is the file itself (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC), not a form."""
    service = service_of(request)

    def work(body: bytes) -> dict[str, Any]:
        start = time.perf_counter()
        where = read_where(request, after, before)
        with service.searching() as searcher:
            photo = decode_bytes(body, target_px=searcher.encoder.image_size_px)
            hits = searcher.search_like(photo.image, k, min_score=min_score, where=where)
        return service.reply("", hits, time.perf_counter() - start)

    async with service.allowances.uploads:
        body = await read_body(request, BODY_LIMIT_BYTES)
        reply = await service.run(service.allowances.pictures, work, body)
    return AsciiJSONResponse(reply)


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The request's body; refused as soon as it is known to be too large, before anything is decoded.

    Raises:
        Problem: Larger than `limit_bytes` (413), too slow (408), or empty (400).
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit_bytes:
        raise body_too_large(limit_bytes)
    body = bytearray()
    try:
        with anyio.fail_after(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit_bytes:
                    raise body_too_large(limit_bytes)
    except TimeoutError as error:
        raise Problem("RequestError", 408, "The photograph took too long to arrive.", hint="Send it again.") from error
    if not body:
        raise Problem("RequestError", 400, "The request has no body.", hint="Send the bytes of an image file.")
    return bytes(body)


def body_too_large(limit_bytes: int) -> Problem:
    """The refusal for an upload beyond the limit."""
    return Problem(
        "BodyTooLarge",
        413,
        f"The photograph is larger than {limit_bytes // 1_000_000} MB.",
        hint="Send a smaller copy of it; a side of 1,000 pixels is plenty.",
    )


@router.get("/photos/{photo_id}", summary="One photograph", responses={200: {"model": PhotoReply}})
def photo(request: Request, photo_id: int) -> Response:
    """What the catalogue knows of it."""
    return AsciiJSONResponse(service_of(request).photo(photo_id).to_dict())


@router.get("/photos/{photo_id}/similar", summary="Photographs like this one", responses={200: {"model": SearchReply}})
async def similar(
    request: Request,
    photo_id: int,
    k: K = 10,
    min_score: MinScore = None,
    folder: Folder = None,
    after: After = None,
    before: Before = None,
) -> Response:
    """The nearest photographs to one of the gallery, itself left out."""
    service = service_of(request)

    def work() -> dict[str, Any]:
        start = time.perf_counter()
        service.photo(photo_id)
        where = read_where(request, after, before)
        with service.searching() as searcher:
            hits: list[Hit] = searcher.similar(photo_id, k, min_score=min_score, where=where)
        return service.reply("", hits, time.perf_counter() - start)

    return AsciiJSONResponse(await service.run(service.allowances.searches, work))


@router.get(
    "/photos/{photo_id}/thumbnail",
    summary="A small JPEG of a photograph",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
async def photo_thumbnail(
    request: Request,
    photo_id: int,
    size: Annotated[int, Query(description=f"Longer side in pixels: one of {THUMBNAIL_SIZES_PX}.")] = 320,
) -> Response:
    """Made when first asked for; carries an ETag."""
    service = service_of(request)
    if size not in THUMBNAIL_SIZES_PX:
        raise Problem(
            "RequestError",
            422,
            f"There are no thumbnails of {size} pixels.",
            hint=f"Ask for one of {', '.join(map(str, THUMBNAIL_SIZES_PX))}.",
        )
    found = await service.run(service.allowances.searches, service.photo, photo_id)
    headers = cache_headers(f"{found.content_hash}-{size}")
    if is_unchanged(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    jpeg = await service.run(service.allowances.pictures, thumbnail, service.thumbnails, found, size)
    return Response(jpeg, media_type="image/jpeg", headers=headers)


@router.get(
    "/photos/{photo_id}/file",
    summary="The photograph itself",
    response_class=Response,
    responses={200: {"content": {"image/*": {}}}},
)
async def photo_file(request: Request, photo_id: int) -> Response:
    """The file as it is on disk; formats that browsers do not show (HEIC, TIFF, RAW) come as a large JPEG."""
    service = service_of(request)
    found = await service.run(service.allowances.searches, service.photo, photo_id)
    opened = await service.run(service.allowances.pictures, open_photo, found)
    if opened is None:
        headers = cache_headers(f"{found.content_hash}-converted")
        if is_unchanged(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        jpeg = await service.run(service.allowances.pictures, converted, service.thumbnails, found)
        return Response(jpeg, media_type="image/jpeg", headers=headers)
    media_type, status = opened
    headers = cache_headers(f"{found.content_hash}-{status.st_size}-{status.st_mtime_ns}")
    if is_unchanged(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return FileResponse(found.path, media_type=media_type, stat_result=status, headers=headers)


@router.get("/stats", summary="What the gallery holds")
def stats(request: Request) -> Response:
    """Counts, dates, sizes, the model and the last run of the indexer."""
    return AsciiJSONResponse(service_of(request).searcher.stats())


@router.get("/skipped", summary="Files that were not indexed, and why", responses={200: {"model": SkippedListReply}})
def skipped(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=SKIPPED_LIMIT)] = SKIPPED_LIMIT,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    reason: Annotated[str | None, Query(description="Only files skipped for this reason.")] = None,
) -> Response:
    """One page of the ledger of skipped files."""
    catalog = service_of(request).catalog
    counts = catalog.skipped_reasons()
    total = sum(counts.values()) if reason is None else counts.get(reason, 0)
    rows = catalog.skipped(limit=limit, offset=offset, reason=reason)
    return AsciiJSONResponse({"skipped": [row.to_dict() for row in rows], "total": total})


def cache_headers(tag: str) -> dict[str, str]:
    """Headers that let a browser keep a picture and ask whether it changed."""
    return {"ETag": f'"{tag}"', "Cache-Control": CACHE_CONTROL}


def is_unchanged(request: Request, etag: str) -> bool:
    """Does the browser hold this very version? (RFC 9110, If-None-Match: weak comparison.)"""
    held = request.headers.get("if-none-match", "")
    return any(tag.strip().removeprefix("W/") in {etag, "*"} for tag in held.split(","))
