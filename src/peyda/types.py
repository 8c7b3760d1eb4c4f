"""The nouns of Peyda: small frozen records that walk between rooms. No behaviour beyond (de)serialisation.

Paths are `str` as `os.fsdecode` gives them: a name that is not valid UTF-8 carries surrogate escapes, and
`os.fsencode` gives back the very bytes on disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Photo:
    """One indexed photograph.

    `taken_at` is local wall-clock time, ISO 8601 without a zone (EXIF has none), from EXIF where it is given and from
    the file's modification time otherwise (`taken_from` says which: "exif" or "file"). `latitude`/`longitude` are
    degrees (WGS 84). `width_px`/`height_px` are after EXIF orientation.
    """

    id: int
    path: str
    size_bytes: int
    mtime_ns: int
    content_hash: str
    format: str
    width_px: int
    height_px: int
    taken_at: str
    taken_from: str
    latitude: float | None = None
    longitude: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping with the field names above."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer to a query. `rank` starts at 1; `score` is the cosine similarity, rounded to 6 decimals.

    Hits are ordered by (score descending, photo_id ascending), so that equal scores have one order everywhere.
    """

    rank: int
    score: float
    path: str
    photo_id: int
    width_px: int = 0
    height_px: int = 0
    taken_at: str = ""
    latitude: float | None = None
    longitude: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping with the field names above."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Hit:
        """The inverse of `to_dict`; unknown keys are ignored so that an older client reads a newer server."""
        return cls(**{name: value[name] for name in cls.__slots__ if name in value})


@dataclass(frozen=True, slots=True)
class Skipped:
    """One file that was not indexed, and why. `reason` is a code of `peyda.images.REASONS`, `detail` a sentence."""

    path: str
    reason: str
    detail: str
    size_bytes: int = 0
    mtime_ns: int = 0
    skipped_at: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping with the field names above."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Where:
    """Filters of a search; every given one must hold.

    `folder` is an absolute directory (its whole subtree matches). `after` (inclusive) and `before` (exclusive) bound
    `Photo.taken_at`, as seconds since 1970-01-01 of the same zoneless clock.
    """

    folder: str | None = None
    after: float | None = None
    before: float | None = None

    @property
    def is_empty(self) -> bool:
        """True when nothing is filtered."""
        return self.folder is None and self.after is None and self.before is None


@dataclass(frozen=True, slots=True)
class Point:
    """What a `Store` keeps: an id, a unit vector `Float32[d]`, and the payload that filters read."""

    id: int
    vector: Float32
    folder: str
    taken_at: float


@dataclass(frozen=True, slots=True)
class ScoredId:
    """What a `Store` answers: a point's id and its cosine similarity to the query."""

    id: int
    score: float


@dataclass(frozen=True, slots=True)
class IndexSummary:
    """What one run of the indexer did; the last line of `peyda index --json`.

    `changed` photos were re-embedded, `moved` ones kept their vector, `removed` ones are gone from disk. `photos` is
    the number in the gallery afterwards. `is_complete` is False when the run was interrupted (a rerun resumes).
    """

    added: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: int = 0
    photos: int = 0
    seconds: float = 0.0
    photos_per_second: float = 0.0
    is_complete: bool = True
    reasons: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping with the field names above."""
        return asdict(self)
