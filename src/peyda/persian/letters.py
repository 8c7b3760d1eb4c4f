"""What the modules of this room know of Persian letters."""

from __future__ import annotations

ZWNJ = "\u200c"
"""The half-space."""

ALIKE = ("سصث", "زذضظ", "تط", "هح", "قغ")
"""Consonants that sound alike; people who write by ear swap them."""

CONSONANTS = {
    "ب": "b", "پ": "p", "ت": "t", "ث": "s", "ج": "j", "چ": "ch", "ح": "h", "خ": "kh", "د": "d", "ذ": "z", "ر": "r",
    "ز": "z", "ژ": "zh", "س": "s", "ش": "sh", "ص": "s", "ض": "z", "ط": "t", "ظ": "z", "غ": "gh", "ف": "f", "ق": "gh",
    "ک": "k", "گ": "g", "ل": "l", "م": "m", "ن": "n", "ه": "h",
}  # fmt: skip
"""How each consonant is mostly written in Latin letters."""
