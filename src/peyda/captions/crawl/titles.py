"""Whether a title of an advertisement may become a caption: Persian words, and nothing that leads to a person."""

from __future__ import annotations

import re
import unicodedata

_PERSIAN_LETTER = re.compile(r"[آ-ی]")
_WEB = re.compile(r"(https?://|www\.|\.(com|ir|net|org|me)\b|@\w|\w@\w)", re.IGNORECASE)
_HANDLE = re.compile(r"(تلگرام|واتس ?اپ|واتساپ|اینستا|آیدی|شماره ?تماس|تماس بگیر|پلاک\s*\d)")
_PHONE_DIGITS = 7
_MOST_CHARS = 300
_FEWEST_LETTERS = 2


def cleaned(title: str) -> str:
    """A title on one line, without control characters and doubled spaces."""
    text = "".join(" " if unicodedata.category(char) in {"Cc", "Zl", "Zp", "Cs"} else char for char in title)
    return " ".join(text.split())


def refusal(title: str) -> str:
    """Why a cleaned title is no caption: a code of `CRAWL_REASONS`, or "" where it is one.

    >>> refusal("مبل راحتی هفت نفره"), refusal("فرش ۰۹۱۲ ۱۲۳ ۴۵۶۷"), refusal("iPhone 13")
    ('', 'personal_data', 'not_persian')
    """
    if len(_PERSIAN_LETTER.findall(title)) < _FEWEST_LETTERS or len(title) > _MOST_CHARS:
        return "not_persian"
    plain = unicodedata.normalize("NFKC", title)
    ascii_digits = "".join(str(unicodedata.digit(char, "")) or char if char.isdigit() else char for char in plain)
    if _has_phone(ascii_digits) or _WEB.search(ascii_digits) or _HANDLE.search(ascii_digits):
        return "personal_data"
    return ""


def _has_phone(text: str) -> bool:
    """Seven digits or more, however they are set apart: a telephone, a card, a plot; a price is lost with them."""
    return any(
        sum(char.isdigit() for char in run) >= _PHONE_DIGITS for run in re.findall(r"\d(?:[\s\-_./()+*]{0,2}\d)*", text)
    )
