"""What a licence allows, as far as its name says: enough to ask before a model is brought here, no legal advice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NON_COMMERCIAL = re.compile(r"(^|[^a-z])nc($|[^a-z])|non-?\s?commercial|research|academic|apple-amlr")


def is_non_commercial(licence: str) -> bool:
    """Whether it forbids commercial use.

    >>> is_non_commercial("cc-by-nc-4.0"), is_non_commercial("FAIR Noncommercial Research License")
    (True, True)
    >>> is_non_commercial("apache-2.0"), is_non_commercial("mit"), is_non_commercial("")
    (False, False, False)
    """
    return bool(_NON_COMMERCIAL.search(licence.lower()))


def stated_licence(info: Mapping[str, Any]) -> str:
    """The licence that a hub's description of a model states; "" where it states none.

    Args:
        info: What the hub's `/api/models/…` answers: `cardData` is the model card's header, `tags` what the hub made
            of it. With `license: other`, the card may name it in `license_name`.
    """
    card = info.get("cardData")
    card = card if isinstance(card, Mapping) else {}
    found = _line(card.get("license"))
    if found in ("", "other", "unknown"):
        found = _line(card.get("license_name")) or found
    if not found:
        tags = info.get("tags")
        tags = [_line(tag) for tag in tags] if isinstance(tags, list) else []
        found = next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), "")
    return found


def _line(value: Any) -> str:
    """A text of the hub as one short printable line; a list of licences as its parts."""
    if isinstance(value, list):
        return ", ".join(filter(None, map(_line, value[:5])))
    text = value if isinstance(value, str) else ""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:100]
