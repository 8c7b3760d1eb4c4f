"""Damaged translations: what a scorer must tell from true ones, made from true ones.

Each damage takes a true pair and spoils the Persian in one way that translation engines do spoil it; None where it
does not apply (no colour to get wrong). The scorer is trained against them and measured with them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

HALF_SPACE = "\u200c"

# One row a thing: a swap within a row would not be a mistake.
_NOUN_ROWS = """
مرد آقا|زن خانم|پسر پسربچه پسرک|دختر دختربچه دخترک|بچه کودک خردسال نوزاد|سگ توله‌سگ|گربه|
اسب|گاو|گوسفند|پرنده|فیل|زرافه|گورخر|خرس|ماهی|مرغابی اردک|میمون|خرگوش|مردم جمعیت|
توپ|کلاه|پیراهن تی‌شرت لباس|کت ژاکت کاپشن|شلوار شلوارک جین|دامن|مایو|عینک|دستکش|کفش|کیف کوله‌پشتی|چتر|چمدان|
دوچرخه|موتورسیکلت موتور|ماشین خودرو اتومبیل|اتوبوس|قطار|کامیون|هواپیما|قایق کشتی|اسکیت|اسکیت‌بورد اسکیت‌برد|تاکسی|
چمن علف چمنزار|برف|آب|دریا اقیانوس|ساحل|شن ماسه|جنگل|کوه کوهستان|صخره سنگ|درخت|گل|رودخانه|دریاچه|استخر|باران|آسمان|
خیابان جاده|پیاده‌رو|پارک|ساختمان|خانه|اتاق|آشپزخانه|حمام|پل|دیوار|نرده حصار|پنجره|پله|میدان|فروشگاه مغازه|رستوران|
میز|صندلی|نیمکت|تخت تختخواب|مبل کاناپه|یخچال|اجاق|توالت دستشویی|تلویزیون|لپ‌تاپ|کامپیوتر رایانه|تلفن|دوربین|ساعت|آینه|
غذا|پیتزا|کیک|ساندویچ|سیب|موز|پرتقال|هویج|بروکلی|سبزیجات|میوه|بستنی|قهوه|شراب|بشقاب|فنجان|لیوان|بطری|کاسه|چاقو|چنگال|قاشق|
کتاب|روزنامه|گیتار|میکروفون|تابلو|پرچم|بادبادک|فریزبی|راکت|چوب|طناب|تاب|سرسره|چادر|آتش|بادکنک|اسباب‌بازی عروسک|
دست|پا|صورت|مو|دهان|زبان|دم|چشم|
بازیکن|دوچرخه‌سوار|موج‌سوار|اسکیت‌باز|صخره‌نورد کوهنورد|دونده|پلیس|سرباز|نوازنده|خواننده|عروس|داماد|دوست|خانواده|تیم|کارگر
"""
_COLOUR_ROWS = "قرمز سرخ|آبی|سبز|زرد|سیاه مشکی|سفید|قهوه‌ای|نارنجی|صورتی|بنفش|خاکستری طوسی|طلایی|نقره‌ای"
_NUMBER_ROWS = "دو ۲ 2|سه ۳ 3|چهار ۴ 4|پنج ۵ 5|شش ۶ 6|هفت ۷ 7|هشت ۸ 8|ده ۱۰ 10"
_NOUN_ENDINGS = ("", "ی", "‌ای", "‌ی", "‌ها", "‌های", "‌هایی", "ها", "های", "هایی", "ان")
_COLOUR_ENDINGS = ("", "ی", "‌پوش", "‌پوشی", "‌رنگ", "‌رنگی")
_WORD = re.compile("[\\w\u200c]+")
_LATIN_WORD = re.compile("[A-Za-z]{3,}")
_SMALL_WORDS = """
the and with his her its are was were has have that this from into near over under next their them they for while
who which what there some out off onto between behind front
"""
_NOT_LEFT = frozenset(_SMALL_WORDS.split())


Damage = Callable[[str, str, np.random.Generator], str | None]


def _rows(text: str) -> dict[str, int]:
    return {word: n for n, row in enumerate(text.replace("\n", "").split("|")) for word in row.split()}


@dataclass(frozen=True)
class _Lexicon:
    """Words by their row, and the endings that they may carry."""

    row_of: Mapping[str, int]
    endings: tuple[str, ...]

    def split(self, word: str) -> tuple[str, str] | None:
        """A listed word and its ending, the longest word first; None for any other."""
        for ending in self.endings:  # the shortest ending first
            if word.endswith(ending) and (base := word[: len(word) - len(ending)]) in self.row_of:
                return base, ending
        return None


_NOUNS = _Lexicon(_rows(_NOUN_ROWS), _NOUN_ENDINGS)
_COLOURS = _Lexicon(_rows(_COLOUR_ROWS), _COLOUR_ENDINGS)
_NUMBERS = _Lexicon(_rows(_NUMBER_ROWS), ("",))


def _found(text: str, lexicon: _Lexicon) -> list[tuple[re.Match[str], str, str]]:
    hits = []
    for match in _WORD.finditer(text):
        parts = lexicon.split(match[0])
        if parts and not (lexicon is _NOUNS and _COLOURS.split(match[0])):  # «آبی» is blue, not a water
            hits.append((match, *parts))
    return hits


def _replaced(text: str, match: re.Match[str], by: str) -> str:
    return " ".join((text[: match.start()] + by + text[match.end() :]).split())


def _joined(base: str, ending: str) -> str:
    """A word with an ending that fits it: «سگی», but «بچه‌ای»."""
    if base.endswith("ه") and ending == "ی":
        return base + "‌ای"
    if not base.endswith("ه") and ending in ("‌ای", "‌ی"):
        return base + "ی"
    return base + ("" if ending == "ان" else ending)


def _swapped(text: str, lexicon: _Lexicon, rng: np.random.Generator) -> str | None:
    hits = _found(text, lexicon)
    if not hits:
        return None
    match, base, ending = hits[rng.integers(len(hits))]
    there = {lexicon.row_of[other] for _, other, _ in hits}
    others = [word for word, row in lexicon.row_of.items() if row not in there and lexicon.split(word) == (word, "")]
    others = [word for word in others if not (base.isdigit() ^ word.isdigit())]
    if not others:
        return None
    return _replaced(text, match, _joined(others[rng.integers(len(others))], ending))


def drop_noun(english: str, persian: str, rng: np.random.Generator) -> str | None:
    """Without one of its nouns."""
    hits = _found(persian, _NOUNS)
    return _replaced(persian, hits[rng.integers(len(hits))][0], " ") or None if hits else None


def swap_noun(english: str, persian: str, rng: np.random.Generator) -> str | None:
    """With another noun in the place of one of its nouns."""
    return _swapped(persian, _NOUNS, rng)


def wrong_number_or_colour(english: str, persian: str, rng: np.random.Generator) -> str | None:
    """With another number or colour."""
    first, second = (_NUMBERS, _COLOURS) if rng.random() < 0.5 else (_COLOURS, _NUMBERS)
    return _swapped(persian, first, rng) or _swapped(persian, second, rng)


def leave_word(english: str, persian: str, rng: np.random.Generator) -> str | None:
    """With an English word left untranslated, in the place of a Persian one."""
    words = [word for word in _LATIN_WORD.findall(english) if word.lower() not in _NOT_LEFT]
    places = [match for match in _WORD.finditer(persian) if len(match[0]) > 2]
    if not words or not places:
        return None
    return _replaced(persian, places[rng.integers(len(places))], words[rng.integers(len(words))].lower())


def repeat_word(english: str, persian: str, rng: np.random.Generator) -> str | None:
    """With a word said once or twice again, right after itself or (rarely) at the end."""
    places = [match for match in _WORD.finditer(persian) if len(match[0]) > 2]
    if not places:
        return None
    match = places[rng.integers(len(places))]
    if rng.random() < 0.25:
        return f"{persian} {match[0]}"
    return _replaced(persian, match, " ".join([match[0]] * int(rng.integers(2, 4))))


DAMAGES: Mapping[str, Damage] = MappingProxyType(
    {
        "dropped_noun": drop_noun,
        "swapped_noun": swap_noun,
        "number_or_colour": wrong_number_or_colour,
        "untranslated_word": leave_word,
        "repeated_word": repeat_word,
    }
)
"""Name → damage of one pair; `swapped_pair` needs several and is `swap_pairs`."""


def swap_pairs(persians: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Each caption replaced by another one of `persians` (at least two, no two alike beside a shift)."""
    if len(persians) < 2:
        raise ValueError("swapping needs at least two captions")
    order = rng.permutation(len(persians))
    swapped = [""] * len(persians)
    for at, row in enumerate(order):
        swapped[row] = persians[order[(at + 1) % len(order)]]
    return swapped
