"""Text from a caption table as HTML: it may hold anything, and is only text on the page."""

from __future__ import annotations

import html
import unicodedata

_CAPTION_CHARACTERS = 300
_NEVER_SHOWN = frozenset({"Cc", "Cs", "Zl", "Zp"})


def shown(text: str, limit: int = _CAPTION_CHARACTERS) -> str:
    """Text from a table as HTML: cut, escaped, without control characters."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    clean = "".join(" " if unicodedata.category(char) in _NEVER_SHOWN else char for char in cut)
    return html.escape(clean)


def isolated(text: str, limit: int = _CAPTION_CHARACTERS) -> str:
    """`shown`, in a direction of its own."""
    return f'<bdi dir="auto">{shown(text, limit)}</bdi>'
