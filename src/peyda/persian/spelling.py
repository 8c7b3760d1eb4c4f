"""Spelling: words that nobody writes, read as the word that was meant.

A known word is left alone. One that is not is read as half-spaces left out («میدود»), as two words typed as one
(«سگسفید») or as one slip of a finger or of the ear («دوجرخه») away from a known word, whichever is likeliest: the noisy
channel of Kernighan, Church and Gale 1990 (https://aclanthology.org/C90-2036/), with counts of `data/words_fa.tsv` for
the words and the keyboard for the slips. Where no reading is likely enough the word stays as it is.

A text typed while the English layout was on («s' stdn») is read as the keys that were pressed, Persian in Latin letters
(«sag sefid») as Persian (`peyda.persian.finglish`), and in a Persian text a number up to ten as its word («2 سگ»),
which is how captions have it.

Text in and text out are normalised (`peyda.persian.normalize`): half-spaces are spaces there.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

from peyda.persian.digits import NUMBER_WORDS
from peyda.persian.finglish import FinglishReader
from peyda.persian.keyboard import NEIGHBOURS, PERSIAN_KEYS
from peyda.persian.letters import ALIKE, ZWNJ

_PERSIAN = re.compile(r"[\u0621-\u06cc]+")
_NUMBERS = {str(number): word for number, word in enumerate(NUMBER_WORDS, start=1)}
_ASCII_LETTER = re.compile(r"[a-z]")
_LETTERS = "".join(NEIGHBOURS) + "آژئ"
_SAME_SOUND = (*ALIKE, "اعآ", "ئی")
_PREFIXES = ("نمی", "می")
_SUFFIXES = ("هایشان", "هایمان", "هایش", "هایی", "های", "ها", "ترین", "تر", "اند", "ام", "اش", "ای")
# Endings written on to a word: a known word with one of them is known too.
_ENDINGS = ("ان", "ی", "یی", "ش", "م", "ت", "شان", "مان", "تان", "ات", "یم", "ید", "ند")

_SHORTEST, _LONGEST = 3, 24  # letters of a word that is corrected
_WORDS_LIMIT = 64  # words of a text that are looked at: no tower reads more
_ENGLISH_LAYOUT = str.maketrans(dict(PERSIAN_KEYS))
# A Latin text is in the wrong layout when so much of what its keys would give is known words, and when it is less
# probable as it stands than so much a letter: English is more so.
_KNOWN_SHARE, _LATIN = 0.6, -5.0

# Natural logarithms of how likely each slip is, beside one to a neighbouring key.
_NEIGHBOUR = _SOUND = _LOST = _SWAPPED = 0.0
_DOUBLED, _ANY, _JOINED, _GLUED = 0.5, -3.5, -1.0, 3.0
# A reading is taken when log count + log slip − 0.5 · log probability of the word as typed − 1.2 · its letters is above
# 11: logistic regression over slips in captions and real words that no caption has (docs/log.md).
_TYPED, _LETTER, _FLOOR = 0.5, 1.2, 11.0


class Speller:
    """Reads mistyped Persian as what was meant. Thread-safe.

    Args:
        counts: Words as they are written, half-spaces and all, and how often.
        log_probability: Natural logarithm of how probable any other word is: the less, the sooner it is a slip.
    """

    def __init__(self, counts: Mapping[str, int], log_probability: Callable[[str], float]) -> None:
        self._counts = Counter(counts)  # and parts of words with half-spaces
        self._glued: dict[str, str] = {}
        self._log_probability = log_probability
        for word, count in counts.items():
            if ZWNJ in word:
                parts = word.split(ZWNJ)
                self._glued.setdefault("".join(parts), " ".join(parts))
                for part in parts:
                    self._counts[part] += count

    def correct(self, text: str) -> str:
        """A normalised text with its mistyped words put right; the same text where nothing is wrong.

        >>> speller = Speller({"دوچرخه": 50, "می‌دود": 30, "سفید": 90, "سگ": 90}, lambda word: -30.0)
        >>> speller.correct("دوجرخه سفید")
        'دوچرخه سفید'
        >>> speller.correct("سگ میدود")
        'سگ می دود'
        >>> speller.correct("s' stdn")
        'سگ سفید'
        """
        if not _PERSIAN.search(text):
            text = self._from_latin(text)
            if not _PERSIAN.search(text):
                return text
        words = text.split(" ")
        for at, word in enumerate(words[:_WORDS_LIMIT]):
            words[at] = _NUMBERS.get(word) or _PERSIAN.sub(lambda found: self._word(found[0]), word)
        return " ".join(words)

    def _from_latin(self, text: str) -> str:
        """A Latin text as the Persian that it was meant to be; as it is where it is not Persian."""
        if not _ASCII_LETTER.search(text) or len(text.split(" ")) > _WORDS_LIMIT:
            return text
        typed = self._in_persian_layout(text)
        return self._finglish.read(text) if typed == text else typed

    @cached_property
    def _finglish(self) -> FinglishReader:
        """Made for the first Latin text: most people never type one."""
        return FinglishReader(self._counts, self._log_probability)

    def _in_persian_layout(self, text: str) -> str:
        """What the same keys give with the Persian layout on, where that makes known words of a Latin text."""
        typed = text.translate(_ENGLISH_LAYOUT)
        words, letters = typed.split(), len(typed.replace(" ", ""))
        known = sum(len(word) for word in words if word in self._counts)
        if letters < _SHORTEST or known < _KNOWN_SHARE * letters:
            return text
        return typed if sum(map(self._log_probability, text.split())) < _LATIN * letters else text

    def _word(self, word: str) -> str:
        if not _SHORTEST <= len(word) <= _LONGEST or word in self._counts:
            return word
        if word.endswith("هی") and word[:-1] in self._counts:
            return word[:-1]  # the ی of the ezafe, which the normaliser drops where it stands apart
        if word in self._glued:
            return self._glued[word]
        if any(word.endswith(end) and word[: -len(end)] in self._counts for end in _ENDINGS):
            return word
        reading, likelihood = max(self._readings(word), key=lambda one: one[1], default=(word, -math.inf))
        floor = _FLOOR + _TYPED * self._log_probability(word) + _LETTER * len(word)
        return reading if likelihood > floor else word

    def _readings(self, word: str) -> Iterator[tuple[str, float]]:
        """What may be meant, and the logarithm of its count and of the slip's likelihood together."""
        for at in range(1, len(word)):
            start, end = word[:at], word[at:]
            if all(part in self._counts and (len(part) > 1 or part == "و") for part in (start, end)):
                is_one_word = start in _PREFIXES or end in _SUFFIXES
                rarer = min(self._counts[start], self._counts[end])
                yield f"{start} {end}", math.log(rarer) + (_GLUED if is_one_word else _JOINED)
        for meant, likelihood in _one_slip_away(word):
            if meant in self._counts:
                yield meant, math.log(self._counts[meant]) + likelihood


def _one_slip_away(word: str) -> Iterator[tuple[str, float]]:
    """Every text from which one slip makes `word`, and how likely that slip is."""
    for at, letter in enumerate(word):
        before, after = word[:at], word[at + 1 :]
        is_beside = at > 0 and letter in word[at - 1] + NEIGHBOURS.get(word[at - 1], "")
        yield before + after, _DOUBLED if is_beside else _ANY
        for meant in _LETTERS:
            if meant != letter:
                yield before + meant + after, _mistaken(meant, letter)
        if after and after[0] != letter:
            yield before + after[0] + letter + after[1:], _SWAPPED
    for at in range(len(word) + 1):
        for lost in _LETTERS:
            yield word[:at] + lost + word[at:], _LOST


def _mistaken(meant: str, typed: str) -> float:
    if typed in NEIGHBOURS.get(meant, ""):
        return _NEIGHBOUR
    return _SOUND if any(meant in group and typed in group for group in _SAME_SOUND) else _ANY
