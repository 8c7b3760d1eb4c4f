"""Decimal digits of every script, to and from the ones that Persian is written with.

Source: the general category `Nd` of the Unicode Character Database, as `unicodedata` has it. Letters, fractions,
superscripts and Roman numerals are not decimal digits and stay.
"""

from __future__ import annotations

import unicodedata

_CACHED_LIMIT = 4_096  # code points; bounds the memory of a table that hostile text fills


class _DigitTable(dict[int, str]):
    """A `str.translate` table that fills itself: decimal digits → `digits`, everything else → itself."""

    def __init__(self, digits: str) -> None:
        super().__init__()
        self._digits = digits

    def __missing__(self, code: int) -> str:
        char = chr(code)
        value = unicodedata.decimal(char, None)
        result = char if value is None else self._digits[int(value)]
        if len(self) < _CACHED_LIMIT:
            self[code] = result
        return result


_ASCII = _DigitTable("0123456789")
_PERSIAN = _DigitTable("۰۱۲۳۴۵۶۷۸۹")

NUMBER_WORDS = ("یک", "دو", "سه", "چهار", "پنج", "شش", "هفت", "هشت", "نه", "ده")
"""The words for 1 to 10."""


def to_ascii_digits(text: str) -> str:
    """Write every decimal digit, whatever its script, as 0–9; all else stays. Length is kept.

    >>> to_ascii_digits("۱۴۰۳ و ٢٠٢٤")
    '1403 و 2024'
    """
    return text if text.isascii() else text.translate(_ASCII)


def to_persian_digits(text: str) -> str:
    """Write every decimal digit, whatever its script, as ۰–۹; all else stays. Length is kept.

    >>> to_persian_digits("3 گربه")
    '۳ گربه'
    """
    return text.translate(_PERSIAN)
