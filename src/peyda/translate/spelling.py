"""Engines' Persian made writable: Arabic letters become Persian ones, stray invisible characters go, words stay.

This is for display and for tables, so it keeps what people read: half-spaces, diacritics, punctuation and the kind of
digits. What models read is `peyda.persian.normalize`, which goes much further.
"""

from __future__ import annotations

import unicodedata

_LETTERS = {"ي": "ی", "ى": "ی", "ك": "ک"}
_DIGITS = dict(zip("٠١٢٣٤٥٦٧٨٩", "۰۱۲۳۴۵۶۷۸۹", strict=True))
# Byte-order mark, zero-width space, soft hyphen and the marks that turn text around: none belongs in a caption.
_INVISIBLE = dict.fromkeys(
    "\ufeff\u200b\u2060\u00ad\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_TABLE = str.maketrans({**_LETTERS, **_DIGITS, **_INVISIBLE})


def to_persian_spelling(text: str) -> str:
    r"""`text` with Persian letters and digits for Arabic ones, blanks squeezed, half-spaces untouched.

    Idempotent. Line breaks become spaces: a caption is one line.

    >>> to_persian_spelling(" كتاب‌هاي\n علي ")
    'کتاب‌های علی'
    """
    text = unicodedata.normalize("NFC", text.translate(_TABLE))
    return " ".join(text.split())
