"""Persian as people type it into a search box: what is augmented in captions, so that a text tower has read it before.

Which of it matters depends on the tower. `peyda.persian.normalize`, through which every tower of this project reads,
makes several of these spellings one and the same; for such a tower they do no harm and teach nothing:

| key | example | after normalising |
|---|---|---|
| `half_space` | «می‌رود» → «میرود» | survives |
| `half_space` | «می‌رود» → «می رود» | gone |
| `missing_space` | «سگ سیاه» → «سگسیاه» | survives |
| `madda` | «آب» → «اب» | survives |
| `sound` | «صندلی» → «سندلی» | survives |
| `slip` | «درخت» → «دزخت» | survives |
| `colloquial` | «می‌شود» → «میشه» | survives |
| `number_words` | «دو سگ» → «۲ سگ» | survives |
| `arabic` | «یک» → «يك», «پرنده» → «پرندة» | gone |
| `digits` | «۲ سگ» → «2 سگ» | gone |
| `marks` | «خانهٔ» → «خانه», «واقعاً» → «واقعا» | gone |

Towers with a tokenizer of their own and no normalising before it (Persian RoBERTa, say) meet them all. The slips, the
Arabic letters and the number words are `peyda.persian.typos`', by which robustness is measured too: what a model gains
there from this augmentation is a gain on slips of the kind that it has seen.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from peyda.errors import ConfigError
from peyda.persian import to_ascii_digits, to_persian_digits
from peyda.persian.colloquial import colloquial
from peyda.persian.letters import ALIKE, ZWNJ
from peyda.persian.typos import VARIANTS

SURVIVES_NORMALIZING = ("colloquial", "number_words", "half_space", "missing_space", "madda", "sound", "slip")
"""Keys of `TypedPersian` that a tower which normalises has to learn; the others it never sees."""

_SPOKEN_SHARE = 0.8
_TEH_MARBUTA_SHARE = 0.1
_PERSIAN = re.compile("[آ-ی]")
_FINAL_HEH = re.compile("(?<=\\w)ه(?!\\w)")
_MARKS = re.compile("[\u064b-\u0652\u0654\u0670]")
_SOUNDS_LIKE = {letter: group.replace(letter, "") for group in ALIKE for letter in group}
_BY_EAR = re.compile(f"[{''.join(_SOUNDS_LIKE)}](?<!ه(?!\\w))")
"""A final «ه» is mostly a vowel, and nobody writes «بچح»."""

_Write = Callable[[str, np.random.Generator], str]


@dataclass(frozen=True, slots=True)
class TypedPersian:
    """A caption as it might have been typed; call it with (text, source of randomness).

    Each key is the chance that a text is changed in that way, where it has something to change. A text without a
    Persian letter stays as it is. With all keys 0 every text does.

    Attributes:
        colloquial: Spoken forms, most of those that `colloquial` knows.
        number_words: Digits for number words.
        half_space: Half-spaces left out, or typed as spaces, or some of them so and some not.
        missing_space: One space left out.
        madda: «ا» for «آ» throughout.
        sound: One letter for another that sounds the same.
        slip: One slip of the finger (a letter missing, doubled, swapped, or its neighbour on the keyboard); two in a
            long text.
        marks: Vowel marks and the hamza of «خانهٔ» left out.
        arabic: Letters of an Arabic keyboard.
        digits: Digits of another script.
    """

    colloquial: float = 0.15
    number_words: float = 0.1
    half_space: float = 0.2
    missing_space: float = 0.03
    madda: float = 0.05
    sound: float = 0.04
    slip: float = 0.1
    marks: float = 0.3
    arabic: float = 0.1
    digits: float = 0.3

    def __post_init__(self) -> None:
        for one in fields(self):
            if not 0 <= getattr(self, one.name) <= 1:
                raise ConfigError(
                    f"{one.name} is {getattr(self, one.name)}", hint=f"{one.name} is a chance, from 0 to 1"
                )

    @classmethod
    def none(cls) -> TypedPersian:
        """One that changes nothing."""
        return cls(**{one.name: 0.0 for one in fields(cls)})

    def __call__(self, text: str, rng: np.random.Generator) -> str:
        """The text as typed; never blank where `text` is not.

        Every key draws its lot whatever the text, so that what one key does does not depend on another's chance.
        """
        keys = [one.name for one in fields(self)]
        lots, seeds = rng.random(len(keys)).tolist(), rng.integers(1 << 62, size=len(keys)).tolist()
        if not _PERSIAN.search(text):
            return text
        typed = text
        for key, lot, seed in zip(keys, lots, seeds, strict=True):
            if lot < getattr(self, key):
                typed = _WRITE[key](typed, np.random.default_rng(seed))
        return typed if typed.strip(f" {ZWNJ}") else text


def _of_variant(code: str) -> _Write:
    """A way of mistyping that robustness is measured by, with lots from NumPy."""
    write = next(one.write for one in VARIANTS if one.code == code)
    return lambda text, rng: write(text, random.Random(int(rng.integers(1 << 62))))


def _half_space(text: str, rng: np.random.Generator) -> str:
    """One habit for the whole text, mostly; the half-space is on no key that people know."""
    habit = rng.random()
    if habit < 0.4:
        return text.replace(ZWNJ, " ")
    if habit < 0.8:
        return text.replace(ZWNJ, "")
    return re.sub(ZWNJ, lambda _: ("", " ", ZWNJ)[int(rng.integers(3))], text)


def _sound(text: str, rng: np.random.Generator) -> str:
    places = [found.start() for found in _BY_EAR.finditer(text)]
    if not places:
        return text
    at = places[int(rng.integers(len(places)))]
    others = _SOUNDS_LIKE[text[at]]
    return text[:at] + others[int(rng.integers(len(others)))] + text[at + 1 :]


def _marks(text: str, _rng: np.random.Generator) -> str:
    return _MARKS.sub("", unicodedata.normalize("NFC", text).replace("ۀ", "ه"))


def _arabic(text: str, rng: np.random.Generator) -> str:
    text = _ARABIC_LETTERS(text, rng)
    return _FINAL_HEH.sub("ة", text) if rng.random() < _TEH_MARBUTA_SHARE else text


def _digits(text: str, rng: np.random.Generator) -> str:
    write = (to_ascii_digits, to_persian_digits, lambda one: _ARABIC_DIGITS(one, rng))[int(rng.integers(3))]
    return write(text)


_ARABIC_LETTERS = _of_variant("arabic_letters")
_ARABIC_DIGITS = _of_variant("digits")

_WRITE: dict[str, _Write] = {
    "colloquial": lambda text, rng: colloquial(text, rng.random, _SPOKEN_SHARE),
    "number_words": _of_variant("number_words"),
    "half_space": _half_space,
    "missing_space": _of_variant("missing_space"),
    "madda": lambda text, _: text.replace("آ", "ا"),
    "sound": _sound,
    "slip": _of_variant("typing_slip"),
    "marks": _marks,
    "arabic": _arabic,
    "digits": _digits,
}
