"""Keeping the warnings of image libraries to themselves while they decode, without touching anyone else's.

`warnings.catch_warnings` swaps a process-wide list and is not safe with threads; this counts its users instead.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator

_MODULES = r"(PIL|pillow_heif|rawpy)(\.|$)"
_LOCK = threading.Lock()
_users = 0
_filter: object = None


@contextlib.contextmanager
def quiet_decoders() -> Iterator[None]:
    """Ignore warnings raised inside Pillow, pillow-heif and rawpy until the last user has left."""
    global _users, _filter
    with _LOCK:
        _users += 1
        if _users == 1 or _filter not in warnings.filters:
            warnings.filterwarnings("ignore", module=_MODULES)
            _filter = warnings.filters[0]
    try:
        yield
    finally:
        with _LOCK:
            _users -= 1
            if _users == 0:
                with contextlib.suppress(ValueError):
                    warnings.filters.remove(_filter)  # type: ignore[attr-defined]
