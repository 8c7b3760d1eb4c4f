"""Exit statuses of the `peyda` command: one for each error of `peyda.errors`, so that scripts can tell them apart.

| status | meaning |
|---|---|
| 0 | done (skipped photographs do not change that: they are counted and listed) |
| 1 | an error without a status of its own; for `peyda doctor`, `peyda gallery verify`: something is not well |
| 2 | wrong usage: an unknown flag, a missing argument |
| 3 | a setting, flag value or environment variable is wrong |
| 4 | the query cannot be answered |
| 5, 6 | data cannot be used; one photograph cannot be used |
| 7 | the model cannot be used |
| 10 | the gallery cannot be used as asked |
| 11 | there is no gallery yet |
| 12 | the gallery was made with another model or text normaliser |
| 13 | the gallery was written by a newer Peyda |
| 14 | files of the gallery contradict each other |
| 15 | another process is indexing into the gallery |
| 20 | an engine failed or refuses to go on: of vectors, or of translations (a ban, a wrong key) |
| 21 | the disk is full, read-only or gone |
| 22 | a Peyda server answered wrongly |
| 70 | a bug in Peyda (sysexits.h: EX_SOFTWARE) |
| 130 | interrupted with Ctrl-C |
| 141 | the reader of the output went away (a closed pipe) |
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from peyda.errors import (
    ConfigError,
    DataError,
    EngineError,
    GalleryBusy,
    GalleryCorrupt,
    GalleryError,
    GalleryMismatch,
    GalleryNotFound,
    GalleryTooNew,
    ImageRefused,
    ModelError,
    PeydaError,
    QueryError,
    ServerError,
    StorageError,
)

OK = 0
FAILED = 1
USAGE = 2
BUG = 70
INTERRUPTED = 130
BROKEN_PIPE = 141

STATUSES: Mapping[type[PeydaError], int] = MappingProxyType(
    {
        PeydaError: FAILED,
        ConfigError: 3,
        QueryError: 4,
        DataError: 5,
        ImageRefused: 6,
        ModelError: 7,
        GalleryError: 10,
        GalleryNotFound: 11,
        GalleryMismatch: 12,
        GalleryTooNew: 13,
        GalleryCorrupt: 14,
        GalleryBusy: 15,
        EngineError: 20,
        StorageError: 21,
        ServerError: 22,
    }
)


def status_of(error: PeydaError) -> int:
    """The status of the nearest class in `STATUSES`, walking up from the error's own class."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
