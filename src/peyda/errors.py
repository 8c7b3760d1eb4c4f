"""The error tree: everything Peyda raises on bad input, and nothing else.

```text
PeydaError                    what happened + a hint that names the fix
├── ConfigError               a setting, flag or environment variable
├── QueryError                a query that cannot be answered (empty, too long)
├── DataError                 caption tables, photographs, datasets
│   └── ImageRefused          one image file; `reason` is a stable code
├── ModelError                model directories, tokenizers, weights
├── GalleryError              the gallery on disk
│   ├── GalleryNotFound       no gallery there yet
│   ├── GalleryMismatch       made with another model or normaliser
│   ├── GalleryTooNew         made by a newer Peyda
│   ├── GalleryCorrupt        files that contradict each other
│   └── GalleryBusy           another indexer is writing
├── EngineError               an engine underneath: of vectors, or of translations
├── StorageError              the disk: full, read-only, vanished
└── ServerError               a Peyda server that answered wrongly
```

Programmer mistakes stay `ValueError` and `TypeError`. Libraries never print or exit: `peyda.cli` maps each leaf to an
exit status and `peyda.server` to an HTTP status.
"""

from __future__ import annotations


class PeydaError(Exception):
    """Something a user can act on.

    Args:
        message: What happened, in one sentence.
        hint: What to do about it; names a command where there is one.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(PeydaError):
    """A setting, a flag or an environment variable is wrong."""


class QueryError(PeydaError):
    """The query cannot be answered: empty, or far too long."""


class DataError(PeydaError):
    """A caption table, a dataset or a photograph cannot be used."""


class ImageRefused(DataError):
    """One image file is refused.

    Args:
        reason: A stable code, one of `peyda.images.REASONS`.
        message: What happened, in one sentence.
        hint: What to do about it.
    """

    def __init__(self, reason: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class ModelError(PeydaError):
    """A model directory, its tokenizer or its weights cannot be used."""


class GalleryError(PeydaError):
    """The gallery on disk cannot be used as asked."""


class GalleryNotFound(GalleryError):
    """There is no gallery in that directory yet."""


class GalleryMismatch(GalleryError):
    """The gallery was made with another model or another text normaliser."""


class GalleryTooNew(GalleryError):
    """The gallery was written by a newer version of Peyda."""


class GalleryCorrupt(GalleryError):
    """Files of the gallery contradict each other or cannot be read."""


class GalleryBusy(GalleryError):
    """Another process is indexing into this gallery."""


class EngineError(PeydaError):
    """An engine underneath failed: of vectors, or of translations."""


class StorageError(PeydaError):
    """The disk is full, read-only or gone."""


class ServerError(PeydaError):
    """A Peyda server answered, but not with what was asked for."""
