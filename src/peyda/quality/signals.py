"""Cheap signals of a translation's quality, from the two texts alone: no model, some microseconds each.

Every signal is a number from 0 (surely bad) to 1 (nothing to object), so that all can be cut from below, as the
similarity scores can; one that needs the English caption is 1 where there is none. `peyda.quality.rules` cuts them;
the bounds there were set on native captions, of which they may lose next to none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from peyda.quality.numbers import has_number, numbers_in
from peyda.quality.pair import CaptionPair

# Letters of Persian for each letter of English, the median over 39,000 caption pairs of three sources (0.84 to 0.93),
# and what is added to both counts, so that a phrase of two words may be as long as it likes.
USUAL_LENGTH = 0.88
_LENGTH_SLACK = 8

_LATIN_WORD = re.compile("[A-Za-zÀ-ɏ][A-Za-zÀ-ɏ0-9]*")
_NGRAM = 4
_FEW_DISTINCT = 0.5
"""A caption that says less than half of its words for the first time is stuck; native ones are above 0.6."""


def length_score(pair: CaptionPair) -> float:
    """How near the translation's length is to the usual one for its source: min(r, 1 / r) for r = actual / usual."""
    if not pair.caption_en:
        return 1.0
    actual = (_letters(pair.normal_fa) + _LENGTH_SLACK) / (_letters(pair.normal_en) + _LENGTH_SLACK) / USUAL_LENGTH
    return min(actual, 1 / actual)


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def script_score(pair: CaptionPair) -> float:
    """The share of letters that are of the Arabic script; 0 where there are no letters."""
    letters = [char for char in pair.normal_fa if char.isalpha()]
    if not letters:
        return 0.0
    return sum(map(is_arabic, letters)) / len(letters)


def is_arabic(char: str) -> bool:
    """Whether a letter is of the Arabic script, in any of its Unicode blocks."""
    return "\u0600" <= char <= "\u06ff" or "\u0750" <= char <= "\u08ff" or "\ufb50" <= char <= "\ufefc"


def is_latin(char: str) -> bool:
    """Whether a letter is a Latin one, accents included."""
    return "A" <= char <= "z" or "À" <= char <= "ɏ"


def latin_score(pair: CaptionPair) -> float:
    """1 less the share of words that are Latin and no names: "urinals" counts, "Honda", "BMX" and "747" do not."""
    found = untranslated_words(pair)
    return 1 - len(found) / max(len(pair.words_fa), len(found)) if found else 1.0


def untranslated_words(pair: CaptionPair) -> list[str]:
    """Latin words of the Persian caption that should have been translated.

    A name is a word that its source writes with a capital inside the sentence, that has a capital after its first
    letter or a digit, or that is one letter long ("stop sign U"). Without a source, any capital makes a name.

    >>> untranslated_words(CaptionPair("A black Honda near two urinals", "هوندا Honda کنار دو urinals"))
    ['urinals']
    """
    latin = _LATIN_WORD.findall(pair.caption_fa)
    if not latin:
        return []
    names = {word.lower() for word in _LATIN_WORD.findall(pair.caption_en)[1:] if word[0].isupper()}
    return [word for word in latin if not _is_name(word, names, has_source=bool(pair.caption_en))]


def _is_name(word: str, names: set[str], *, has_source: bool) -> bool:
    if len(word) == 1 or word.lower() in names or any(char.isdigit() for char in word):
        return True
    return any(map(str.isupper, word[1:])) or (not has_source and word[0].isupper())


def repetition_score(pair: CaptionPair) -> float:
    """1 less the share of words that only repeat what was just said.

    These repeat: a word three times running, «X و X», and two to four words twice running («در باغ در باغ»). Two equal
    words running do not: «راه راه», «تکه تکه» and «اسباب‌بازی بازی می‌کند» are good Persian. Where over half of a
    longer caption was said before, the share of what is new is the score.

    >>> repetition_score(CaptionPair("", "زرافه در باغ در باغ راه می‌رود"))
    0.75
    """
    words = pair.words_fa if pair.words_fa else pair.normal_fa.split()
    if len(words) < 3:
        return 1.0
    score = 1 - _repeated(words) / len(words)
    distinct = len(set(words)) / len(words)
    return min(score, distinct) if distinct < _FEW_DISTINCT and len(words) >= 2 * _NGRAM else score


def _repeated(words: list[str]) -> int:
    """How many words only repeat. Longer n-grams first, so that none is counted twice."""
    count, at = 0, 0
    while at < len(words):
        step = _repetition_at(words, at)
        count += step
        at += step or 1
    return count


def _repetition_at(words: list[str], at: int) -> int:
    """The number of words from `at` on that repeat those before; 0 when they do not."""
    if at >= 2 and words[at] == words[at - 1] == words[at - 2]:
        return 1
    if at >= 2 and words[at - 1] == "و" and words[at] == words[at - 2] and len(words[at]) > 1:
        return 1
    for n in range(_NGRAM, 1, -1):
        gram = words[at : at + n]
        # With «و» inside it may be a list: «سگی سیاه و سگی سیاه و سفید».
        if at >= n and gram == words[at - n : at] and "و" not in gram and len(set(gram)) > 1:
            return n
    return 0


def numbers_score(pair: CaptionPair) -> float:
    """The share of the source's numbers that the translation has, as digits or as words; 1 where there are none."""
    numbers = numbers_in(pair.words_en)
    if not numbers:
        return 1.0
    return sum(has_number(pair.words_fa, number) for number in numbers) / len(numbers)


def copy_score(pair: CaptionPair) -> float:
    """0 where the output is its input, but for spelling; 1 otherwise."""
    return 0.0 if pair.words_en and pair.words_en == pair.words_fa else 1.0


SIGNALS: Mapping[str, Callable[[CaptionPair], float]] = MappingProxyType(
    {
        "length": length_score,
        "script": script_score,
        "latin": latin_score,
        "repetition": repetition_score,
        "numbers": numbers_score,
        "copy": copy_score,
    }
)
"""Name → signal; `peyda score` writes each as the column `score_<name>`."""
