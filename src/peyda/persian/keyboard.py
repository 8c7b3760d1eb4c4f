"""The Persian keyboard: ISIRI 9147, as Microsoft's “Persian (Standard)” lays it over a US keyboard."""

from __future__ import annotations

from collections.abc import Mapping

from peyda.persian.letters import ZWNJ

_PERSIAN_ROWS = ("ضصثقفغعهخحجچ", "شسیبلاتنمکگ", "ظطزرذدپو")
_US_ROWS = ("qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,")
_SHIFTED = {"آ": "H", "ژ": "C", "ئ": "S", "ؤ": "A", "أ": "G", "إ": "F", "ة": "J", "ء": "M", "؟": "?", "،": "T",
            "؛": "Y", "«": "K", "»": "L", ZWNJ: " "}  # fmt: skip
_PLAIN = {fa: us for row, keys in zip(_PERSIAN_ROWS, _US_ROWS, strict=True) for fa, us in zip(row, keys, strict=True)}

ENGLISH_KEYS: Mapping[str, str] = _PLAIN | _SHIFTED
"""What the key of each Persian character gives while the English layout is on."""

PERSIAN_KEYS: Mapping[str, str] = {us: fa for fa, us in _PLAIN.items()}
"""What each key without shift gives while the Persian layout is on."""

NEIGHBOURS: Mapping[str, str] = {
    letter: row[max(0, at - 1) : at] + row[at + 1 : at + 2] for row in _PERSIAN_ROWS for at, letter in enumerate(row)
}
"""The keys left and right of each letter."""
