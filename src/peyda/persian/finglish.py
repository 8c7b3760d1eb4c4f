"""Persian in Latin letters («gorbe sefid»), read as Persian words.

Nobody writes it by rule: vowels come and go, «خ» is kh or x, «ق» gh or q. So a word is looked for by what all spellings
keep, its consonants, and of the known words with those the likeliest is meant: common, and with long vowels where the
Latin word has them. Whether a text is Persian at all is the likelihood of both readings weighed against each other.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import lru_cache

from peyda.persian.letters import CONSONANTS, ZWNJ

_LATIN_WORD = re.compile(r"[a-z]+")
_SHORT_VOWELS = re.compile(r"[aeiouyvw]")
_TWICE = re.compile(r"(.)\1+")
# Sounds that Latin writes with two letters, as one letter each.
_PAIRS = {"kh": "x", "gh": "q", "sh": "S", "ch": "C", "zh": "Z", "oo": "u", "ou": "u", "ee": "i", "c": "k"}

# Natural logarithms. A letter that disagrees costs its entry below times _DISAGREE; a word that is not known costs
# _UNKNOWN more than it does as it stands.
_DISAGREE, _UNKNOWN = 4.0, 6.0
_SHORT_VOWEL, _LONG_VOWEL_UNWRITTEN = 0.15, 1.2
# A text is read when Persian is likelier by so much in all and by so much a word; a text more probable as it stands
# than so much a letter is English (docs/log.md).
_IN_ALL, _A_WORD = 9.0, 2.0
_ENGLISH_LETTER, _ENGLISH_LETTER_SHORT, _SHORT_TEXT = -3.3, -3.4, 3  # a short text has fewer words
_FEWEST_LETTERS = 4


class FinglishReader:
    """Reads Latin spellings of known Persian words. Thread-safe.

    Args:
        counts: Persian words as they are written, half-spaces and all, and the parts of these, and how often.
        log_probability: Natural logarithm of how probable a Latin word is as it stands.
    """

    def __init__(self, counts: Mapping[str, int], log_probability: Callable[[str], float]) -> None:
        total = sum(counts.values())
        self._log_probability = log_probability
        self._words: dict[str, list[tuple[str, float]]] = defaultdict(list)
        for word, count in counts.items():
            # A final ه is heard as a vowel («گربه») or as a consonant («کلاه»).
            for consonants in {_persian_consonants(word), _persian_consonants(word + ZWNJ)}:
                self._words[consonants].append((word, math.log(count / total)))
        self._likeliest = lru_cache(4096)(self._likeliest_uncached)

    def read(self, text: str) -> str:
        """A normalised text without Persian letters, in Persian where it is Persian in Latin letters.

        >>> reader = FinglishReader({"گربه": 50, "سفید": 90, "برف": 20, "در": 900, "کنار": 9}, lambda _: -25.0)
        >>> reader.read("gorbeye sefid dar barf")
        'gorbeye سفید در برف'
        """
        words = _LATIN_WORD.findall(text)
        letters = sum(map(len, words))
        as_it_stands = [self._log_probability(word) for word in words]
        english = _ENGLISH_LETTER if len(words) >= _SHORT_TEXT else _ENGLISH_LETTER_SHORT
        if letters < _FEWEST_LETTERS or sum(as_it_stands) > english * letters:
            return text
        gain = 0.0
        for word, latin in zip(words, as_it_stands, strict=True):
            _, persian = self._likeliest(word)
            gain += max(persian - latin, -_UNKNOWN)
        if gain < _IN_ALL or gain < _A_WORD * len(words):
            return text
        return _LATIN_WORD.sub(lambda found: _normalised(self._likeliest(found[0])[0]), text)

    def _likeliest_uncached(self, latin: str) -> tuple[str, float]:
        """The Persian word that is meant and the logarithm of its likelihood; the Latin word itself where none is."""
        one_letter_each = _with_pairs(latin)
        found = (
            (word, log_share - _DISAGREE * _disagreement(word, one_letter_each))
            for word, log_share in self._words.get(_latin_consonants(one_letter_each), ())
        )
        return max([(latin, -math.inf), *found], key=lambda one: one[1])


def _normalised(word: str) -> str:
    """As `peyda.persian.normalize` has a word: no half-spaces, no ی of the ezafe after ه."""
    return (word[:-2] if word.endswith(f"ه{ZWNJ}ی") else word).replace(ZWNJ, " ")


def _with_pairs(latin: str) -> str:
    for pair, one in _PAIRS.items():
        latin = latin.replace(pair, one)
    return latin


_SOUNDS = {letter: _with_pairs(latin) for letter, latin in CONSONANTS.items()}


def _latin_consonants(latin: str) -> str:
    """y, v and w are vowels as often, and so is a final h."""
    return _TWICE.sub(r"\1", _SHORT_VOWELS.sub("", latin.removesuffix("h")))


def _persian_consonants(word: str) -> str:
    parts = [part.removesuffix("ه") for part in word.split(ZWNJ)]
    if word.endswith(f"ه{ZWNJ}"):
        parts[-1] = "ه"
    return _TWICE.sub(r"\1", "".join(_SOUNDS.get(letter, "") for part in parts for letter in part))


def _disagreement(word: str, latin: str) -> float:
    """What the cheapest alignment of a Persian word with a Latin one costs; infinite where there is none."""
    costs = [[math.inf] * (len(latin) + 1) for _ in range(len(word) + 1)]
    costs[0][0] = 0.0
    for i, row in enumerate(costs):
        spellings = _spellings(word, i) if i < len(word) else ()
        for j, here in enumerate(row):
            if here == math.inf:
                continue
            if j < len(latin) and latin[j] in "aeiou":  # a vowel that Persian does not write
                # At the end of a word only the e of the ezafe is not written.
                is_short = latin[j] in ("e" if i == len(word) else "aeo")
                more = _SHORT_VOWEL if is_short else _LONG_VOWEL_UNWRITTEN
                row[j + 1] = min(row[j + 1], here + more)
            for letters, cost in spellings:
                if latin.startswith(letters, j):
                    end = j + len(letters)
                    costs[i + 1][end] = min(costs[i + 1][end], here + cost)
    return costs[-1][-1]


def _spellings(word: str, at: int) -> list[tuple[str, float]]:
    """How a letter may be written in Latin, and what each way costs."""
    letter, is_last = word[at], word[at + 1 : at + 2] in ("", ZWNJ)
    if letter == ZWNJ:
        return [("", 0.0)]
    if letter == "ا" and word[at - 1 : at] == ZWNJ:
        return [("a", 0.0), ("", 0.0)]
    if letter in "آا":
        return [("a", 0.0), ("aa", 0.0), ("e", 0.8), ("o", 0.5), ("u", 0.7), ("", 1.2)]
    if letter == "و":
        return [("u", 0.0), ("v", 0.0), ("w", 0.0), ("o", 0.1), ("", 1.2)]
    if letter == "ی":
        return [("i", 0.0), ("y", 0.0), ("ey", 0.2), ("e", 0.6), ("", 1.2)]
    if letter in "عئء":
        return [("", 0.1), ("a", 0.1), ("e", 0.2)]
    if letter == "ه" and is_last:
        return [("e", 0.0), ("eh", 0.0), ("h", 0.0), ("i", 0.4), ("a", 0.4)]
    one = _SOUNDS.get(letter)
    return [(one, 0.0), (one * 2, 0.1)] if one else [("", 1.0)]
