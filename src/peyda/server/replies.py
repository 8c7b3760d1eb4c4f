"""What the API answers: the JSON writer, and the shapes that the OpenAPI page shows.

The models here document replies; they do not validate them, because a path may hold lone surrogates (a file name that
is not valid UTF-8), which pydantic refuses and which plain ASCII-escaped JSON carries without loss.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse


class AsciiJSONResponse(JSONResponse):
    """JSON with everything outside ASCII escaped, so that any Python string, lone surrogates included, survives."""

    def render(self, content: Any) -> bytes:
        """Encode `content`; NaN and infinities are a programmer's mistake (ValueError)."""
        return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


class HitReply(BaseModel):
    """One found photograph."""

    rank: int = Field(description="1 is the best.")
    score: float = Field(description="Cosine similarity, rounded to 6 decimals.")
    path: str = Field(description="Where the file is, on the machine that serves.")
    photo_id: int
    width_px: int = Field(description="After EXIF orientation.")
    height_px: int
    taken_at: str = Field(description="Local wall-clock time, ISO 8601 without a zone.")
    latitude: float | None = None
    longitude: float | None = None


class SearchReply(BaseModel):
    """The answer to a search of any kind."""

    query: str = Field(description="The query as it came; empty for a search by photograph.")
    normalized: str = Field(description="The text that the model reads.")
    photos: int = Field(description="How many photographs the gallery holds.")
    took_ms: float = Field(description="Time spent answering, in milliseconds.")
    hits: list[HitReply] = Field(description="Ordered by (score descending, photo_id ascending).")


class PhotoReply(BaseModel):
    """What the catalogue knows of one photograph."""

    id: int
    path: str
    size_bytes: int
    mtime_ns: int
    content_hash: str
    format: str
    width_px: int
    height_px: int
    taken_at: str
    taken_from: str = Field(description="'exif', or 'file' for the file's modification time.")
    latitude: float | None = None
    longitude: float | None = None


class HealthReply(BaseModel):
    """Is the server up, and what does it serve."""

    status: str
    version: str
    gallery_id: str
    photos: int
    model: str
    index_command: str = Field(description="The command that adds photographs to this gallery.")


class SkippedReply(BaseModel):
    """One file that is not in the gallery, and why."""

    path: str
    reason: str
    detail: str
    size_bytes: int
    mtime_ns: int
    skipped_at: str


class SkippedListReply(BaseModel):
    """The files that were not indexed."""

    skipped: list[SkippedReply]
    total: int


class ProblemReply(BaseModel):
    """An RFC 9457 problem document."""

    type: str = Field(description="Name of the error class, e.g. QueryError.")
    title: str
    status: int
    detail: str = Field(description="What happened, in one sentence.")
    hint: str = Field(description="What to do about it.")
