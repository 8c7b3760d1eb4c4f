"""Numbers of an English caption, and whether its Persian translation has them: as digits or as words.

Owns the Persian number words. Ordinals, «دوتایی» and «بیست‌ویک» are found because words are compared by their
beginning. "one" is no number here: it is a pronoun more often than not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_ENGLISH = {
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "eleven": 11,
    "twelve": 12,
    "twenty": 20,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
}
"""Hundreds and thousands are left to the words before them: "six hundred" asks for «شش», which «ششصد» begins with."""
_UNITS = ("", "یک", "دو", "سه", "چهار", "پنج", "شش", "هفت", "هشت", "نه")
_TEENS = ("ده", "یازده", "دوازده", "سیزده", "چهارده", "پانزده", "شانزده", "هفده", "هجده", "نوزده")
_TENS = ("", "", "بیست", "سی", "چهل", "پنجاه", "شصت", "هفتاد", "هشتاد", "نود")
_HUNDREDS = ("", "صد", "دویست", "سیصد", "چهارصد", "پانصد", "ششصد", "هفتصد", "هشتصد", "نهصد")
_ALSO = {
    1: ("اول", "نخست"),
    2: ("جفت", "هردو", "زوج"),
    3: ("سوم", "سیصد"),
    5: ("پانصد",),
    6: ("شیش",),
    12: ("دوجین",),
    18: ("هیجده", "هژده"),
}
_NUMBER = re.compile(r"([0-9]+)(?:st|nd|rd|th|s)?")
_MAX_DIGITS = 9  # longer ones are codes
_LEADING = re.compile(r"^\d+")
_IDIOMS = re.compile(r"\bfour wheel|\btwo toned?\b")
"""Where the number word names a kind of thing, and a good translation has none."""


def numbers_in(words_en: Sequence[str]) -> list[int]:
    """The numbers of an English caption, each as often as it occurs.

    "21st" and "1950s" are numbers, "mp3" is a name; a "dozen" after a number multiplies it.

    >>> numbers_in("two dogs and 3 cats on 21st street".split())
    [2, 3, 21]
    """
    if not any(word[0].isdigit() or word in _ENGLISH for word in words_en):
        return []
    words = _IDIOMS.sub("", " ".join(words_en)).split()
    found = []
    for at, word in enumerate(words):
        match = _NUMBER.fullmatch(word)
        if match and len(match[1]) <= _MAX_DIGITS:
            number = int(match[1])
        elif word in _ENGLISH:
            number = _ENGLISH[word]
        else:
            continue
        follower = words[at + 1] if at + 1 < len(words) else ""
        found.append(number * 12 if follower == "dozen" else number)
    return found


def has_number(words_fa: Sequence[str], number: int) -> bool:
    """Whether the words of a Persian caption say this number.

    >>> has_number("بیست و چهار نفر".split(), 24)
    True
    >>> has_number("۳ گربه".split(), 2)
    False
    """
    digits = str(number)
    if any(run.lstrip("0") == digits for word in words_fa for run in _LEADING.findall(word)):
        return True
    if any(word.startswith(_ALSO.get(number, ())) for word in words_fa):
        return True
    parts = persian_parts(number)
    return bool(parts) and all(any(_says(word, part) for word in words_fa) for part in parts)


def _says(word: str, part: str) -> bool:
    # The conjunction may be written onto the next word: «بیست وچهار».
    return word.startswith((part, "و" + part))


def persian_parts(number: int) -> list[str]:
    """The Persian words of a number below 10,000, without the «و» between them; empty for any other.

    >>> persian_parts(1324)
    ['هزار', 'سیصد', 'بیست', 'چهار']
    """
    if not 0 < number < 10_000:
        return []
    parts = []
    thousands, rest = divmod(number, 1000)
    if thousands:
        parts += ([_UNITS[thousands]] if thousands > 1 else []) + ["هزار"]
    hundreds, rest = divmod(rest, 100)
    if hundreds:
        parts.append(_HUNDREDS[hundreds])
    if 10 <= rest < 20:
        return [*parts, _TEENS[rest - 10]]
    tens, units = divmod(rest, 10)
    return [*parts, *filter(None, (_TENS[tens], _UNITS[units]))]
