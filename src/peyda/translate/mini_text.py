"""Text as the embedded translator reads and writes it.

English goes in as `peyda.persian.normalize` makes it. Persian is the other way round: what people read, so half-spaces
(U+200C), Persian digits and Persian punctuation stay, and only spellings that vary without meaning become one. The
translator is trained on `target_text` and therefore writes it.
"""

from __future__ import annotations

import re
import unicodedata

from peyda.persian import normalize
from peyda.translate.spelling import to_persian_spelling

HALF_SPACE = "\u200c"

_MARKS = dict.fromkeys([*range(0x0610, 0x061B), *range(0x064C, 0x0654), 0x0655, 0x0656, 0x0670, 0x0640])
_PUNCTUATION = str.maketrans({",": "،", ";": "؛", "?": "؟", "“": "«", "”": "»", "…": "..."})
_DIGITS = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
_HALF_SPACES = re.compile("[\u200c\u00ac]+")
_LOOSE_HALF_SPACE = re.compile("\\s*\u200c\\s+|\\s+\u200c\\s*|^\u200c|\u200c$")
_HEH_HAMZA = re.compile("ۀ|هٔ")
_BEFORE_MARK = re.compile(r"\s+(?=[،؛؟.!:»)])")
_AFTER_OPENING = re.compile(r"(?<=[«(])\s+")
_FINAL_STOP = re.compile(r"[\s.]+$")


def source_text(english: str) -> str:
    """English as the encoder reads it: normalised, without a final stop (captions have one or not).

    >>> source_text("A  Dog runs .")
    'a dog runs'
    """
    return _FINAL_STOP.sub("", normalize(english))


def target_text(persian: str) -> str:
    """Persian as the decoder writes it: one spelling, half-spaces kept, no final stop.

    Idempotent.

    >>> target_text("مردي  كتاب‌ها ‌ را مي‌خواند .")
    'مردی کتاب‌ها را می‌خواند'
    >>> target_text("خانهٔ 2 طبقه, بزرگ") == "خانه‌ی ۲ طبقه، بزرگ"
    True
    """
    text = unicodedata.normalize("NFC", to_persian_spelling(persian)).translate(_MARKS)
    text = _HALF_SPACES.sub(HALF_SPACE, _HEH_HAMZA.sub("ه‌ی", text))
    text = text.translate(_PUNCTUATION).translate(_DIGITS)
    text = " ".join(_LOOSE_HALF_SPACE.sub(" ", text).split())
    text = _AFTER_OPENING.sub("", _BEFORE_MARK.sub("", text))
    return _FINAL_STOP.sub("", text)
