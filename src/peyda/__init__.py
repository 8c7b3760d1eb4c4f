"""Peyda (پیدا, "found"): find photographs by describing them in Persian.

```python
import peyda

with peyda.Gallery.open() as gallery:
    for hit in gallery.search("سگ در برف", k=5):
        print(hit.rank, hit.score, hit.path)
```

Everything below is loaded when it is first asked for, so that `import peyda` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from peyda._version import __version__

if TYPE_CHECKING:
    from peyda.client import Gallery
    from peyda.encoders import load_encoder
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
    from peyda.persian import normalize
    from peyda.types import Hit

_ERRORS = (
    "ConfigError",
    "DataError",
    "EngineError",
    "GalleryBusy",
    "GalleryCorrupt",
    "GalleryError",
    "GalleryMismatch",
    "GalleryNotFound",
    "GalleryTooNew",
    "ImageRefused",
    "ModelError",
    "PeydaError",
    "QueryError",
    "ServerError",
    "StorageError",
)
_HOMES = {
    "Gallery": "peyda.client",
    "Hit": "peyda.types",
    "load_encoder": "peyda.encoders",
    "normalize": "peyda.persian",
    **dict.fromkeys(_ERRORS, "peyda.errors"),
}

__all__ = [
    "ConfigError",
    "DataError",
    "EngineError",
    "Gallery",
    "GalleryBusy",
    "GalleryCorrupt",
    "GalleryError",
    "GalleryMismatch",
    "GalleryNotFound",
    "GalleryTooNew",
    "Hit",
    "ImageRefused",
    "ModelError",
    "PeydaError",
    "QueryError",
    "ServerError",
    "StorageError",
    "__version__",
    "load_encoder",
    "normalize",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'peyda' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value  # the next access does not come here again
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
