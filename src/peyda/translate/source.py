"""Source texts as engines get them, and their keys in the cache: captions that differ in blanks alone are one text."""

from __future__ import annotations

import hashlib
import unicodedata

from peyda.translate.protocol import Failed

_KEY_BYTES = 16
_JOINERS = "\u200c\u200d"  # letters' shapes and composed emoji


def normalize_source(text: str) -> str:
    r"""One form of an English caption: composed characters, blanks squeezed, no controls, nothing invisible.

    Idempotent. Letter case and punctuation stay: they change translations.

    >>> normalize_source(" Two  dogs\n play .\x00")
    'Two dogs play .'
    """
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize("NFC", text)
        text = "".join(" " if char.isspace() else char for char in text if char.isspace() or _is_text(char))
    return " ".join(text.split())


def _is_text(char: str) -> bool:
    """False for controls, for what no encoding can carry (lone surrogates) and for the invisible, joiners apart."""
    return unicodedata.category(char) not in {"Cc", "Cf", "Cs"} or char in _JOINERS


def source_key(source: str) -> bytes:
    """The key of a normalised source: 128 bits of BLAKE2b."""
    return hashlib.blake2b(source.encode(), digest_size=_KEY_BYTES).digest()


def refusal(source: str, longest_text: int) -> Failed | None:
    """Why a normalised source is not sent at all; None when it is."""
    if not source:
        return Failed("no_text")
    if len(source) > longest_text:
        return Failed("too_long", f"{len(source):,} characters, and the engine takes {longest_text:,}")
    return None
