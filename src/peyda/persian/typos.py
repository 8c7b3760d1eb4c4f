"""Persian text as people mistype it: for measuring how much a search suffers, never for searching.

Each variant is one kind of spelling or slip, applied to a whole query: letters of an Arabic keyboard, a half-space left
out or typed as a space, digits of another script, vowel marks, Latin letters («Finglish»), the wrong keyboard layout,
slips of a finger, and the spoken forms that people type as they say them. Variants that draw lots are repeatable: the
same text and seed give the same slip.

Latin spelling follows what people write in messages, by a list of common words and by rule for the rest.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from peyda.persian.colloquial import colloquial
from peyda.persian.digits import NUMBER_WORDS, to_ascii_digits, to_persian_digits
from peyda.persian.keyboard import ENGLISH_KEYS, NEIGHBOURS
from peyda.persian.letters import CONSONANTS, ZWNJ

_ARABIC = str.maketrans("یک", "يك")
_ARABIC_INDIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
_DIACRITICS = "\u064e\u064f\u0650\u0651\u0652"
_TATWEEL = "\u0640"
_JOINS_NOTHING = "اآدذرزژوأإؤء"
_NUMBERS = {word: to_persian_digits(str(number)) for number, word in enumerate(NUMBER_WORDS, start=1)}

_LATIN_MARKS = {"؟": "?", "،": ",", "؛": ";", "«": '"', "»": '"'}
_WORDS = {
    "و": "o", "در": "dar", "با": "ba", "از": "az", "به": "be", "که": "ke", "را": "ra", "بر": "bar", "تا": "ta",
    "این": "in", "آن": "an", "یک": "yek", "دو": "do", "سه": "se", "چهار": "chahar", "پنج": "panj", "چند": "chand",
    "روی": "rooye", "کنار": "kenare", "زیر": "zire", "جلوی": "jeloye", "پشت": "poshte", "بین": "beyne",
    "است": "ast", "می": "mi", "ها": "ha", "های": "haye", "ای": "i", "ی": "e", "اش": "ash", "هایش": "hayash",
    "کند": "konad", "کنند": "konand", "کنان": "konan", "دود": "davad", "دوند": "davand", "پرد": "parad",
    "رود": "ravad", "روند": "ravand", "زند": "zanad", "زنند": "zanand", "خورد": "khorad", "خورند": "khorand",
    "گیرد": "girad", "گذرد": "gozarad", "کشد": "keshad", "خندد": "khandad", "نشسته": "neshaste", "اند": "and",
    "ایستاده": "istade", "نشسته‌اند": "neshasteand", "شده": "shode", "شد": "shod", "دارد": "darad", "دارند": "darand",
    "دست": "dast", "مرد": "mard", "مردی": "mardi", "زن": "zan", "زنی": "zani", "پسر": "pesar", "پسری": "pesari",
    "پسربچه": "pesarbache", "دختر": "dokhtar", "دختری": "dokhtari", "دختربچه": "dokhtarbache", "بچه": "bache",
    "کودک": "koodak", "کودکی": "koodaki", "نفر": "nafar", "مردم": "mardom", "آدم": "adam", "جوان": "javan",
    "سگ": "sag", "سگی": "sagi", "گربه": "gorbe", "اسب": "asb", "پرنده": "parande", "گاو": "gav", "ماهی": "mahi",
    "سیاه": "siah", "سفید": "sefid", "قرمز": "ghermez", "سبز": "sabz", "آبی": "abi", "زرد": "zard", "سرخ": "sorkh",
    "قهوه": "ghahve", "نارنجی": "narenji", "صورتی": "soorati", "بنفش": "banafsh", "بزرگ": "bozorg", "کوچک": "koochik",
    "برف": "barf", "برفی": "barfi", "باران": "baran", "دریا": "darya", "ساحل": "sahel", "کوه": "kooh",
    "جنگل": "jangal", "درخت": "derakht", "گل": "gol", "چمن": "chaman", "آب": "ab", "آسمان": "aseman", "سنگ": "sang",
    "خیابان": "khiaban", "خانه": "khane", "ماشین": "mashin", "دوچرخه": "docharkhe", "موتور": "motor", "توپ": "toop",
    "فوتبال": "football", "بازی": "bazi", "حال": "hale", "هوا": "hava", "لباس": "lebas", "پیراهن": "pirahan",
    "کلاه": "kolah", "عینک": "eynak", "آفتابی": "aftabi", "عکس": "aks", "صندلی": "sandali", "نیمکت": "nimkat",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to mistype.

    Attributes:
        code: Stable name.
        description: What people do, in English.
        write: From a text and a source of lots to the text as mistyped; the same text where there is nothing to do.
    """

    code: str
    description: str
    write: Callable[[str, random.Random], str]


def mistype(text: str, code: str, *, seed: int = 0) -> str:
    """`text` with one kind of mistyping; unchanged where it has nothing to mistype so.

    Args:
        text: A query, correctly written.
        code: Of one of `VARIANTS`.
        seed: Of the slips.

    Raises:
        KeyError: There is no such variant.

    >>> mistype("گربهٔ سفید", "arabic_letters")
    'گربهٔ سفيد'
    >>> mistype("سلام", "keyboard_layout")
    'sghl'
    >>> mistype("گربه سفید", "finglish")
    'gorbe sefid'
    """
    variant = _BY_CODE[code]
    return variant.write(text, random.Random(f"{seed}/{code}/{text}".encode("utf-8", "surrogatepass")))


def _diacritics(text: str, lots: random.Random) -> str:
    """A vowel mark on about a third of the letters, on one at least."""
    letters = [at for at, char in enumerate(text) if char in CONSONANTS]
    if not letters:
        return text
    marked = {at for at in letters if lots.random() < 0.3} or {lots.choice(letters)}
    return "".join(char + lots.choice(_DIACRITICS) if at in marked else char for at, char in enumerate(text))


def _stretch(text: str, lots: random.Random) -> str:
    """Tatweel inside one word: after a letter that joins the next one."""
    places = [
        at + 1
        for at, (one, following) in enumerate(pairwise(text))
        if one in CONSONANTS and one not in _JOINS_NOTHING and following.isalpha()
    ]
    if not places:
        return text
    at = lots.choice(places)
    return text[:at] + _TATWEEL * lots.randint(1, 4) + text[at:]


def _numerals(text: str, _lots: random.Random) -> str:
    """Number words as digits: «دو سگ» as «۲ سگ»."""
    return " ".join(_NUMBERS.get(word, word) for word in text.split(" "))


def _slip(text: str, lots: random.Random) -> str:
    """One slip in a word of at least three letters, a second one in a long text."""
    for _ in range(1 + (len(text) > 40)):
        places = [at for at in range(1, len(text)) if text[at] in NEIGHBOURS and text[at - 1] in NEIGHBOURS]
        if len(places) < 2:
            return text
        at = lots.choice(places)
        before, letter, after = text[:at], text[at], text[at + 1 :]
        slips = [before + after, before + letter + letter + after, before + lots.choice(NEIGHBOURS[letter]) + after]
        if letter != before[-1]:
            slips.append(before[:-1] + letter + before[-1] + after)
        text = lots.choice(slips)
    return text


def _colloquial(text: str, lots: random.Random) -> str:
    return colloquial(text, lots.random)


def _joined(text: str, lots: random.Random) -> str:
    """One space left out between two words."""
    places = [at for at, char in enumerate(text) if char == " " and 0 < at < len(text) - 1]
    if not places:
        return text
    at = lots.choice(places)
    return text[:at] + text[at + 1 :]


def _wrong_layout(text: str, _lots: random.Random) -> str:
    """The keys that would have given the text on a Persian keyboard, typed on an English one."""
    return "".join(ENGLISH_KEYS.get(char, char) for char in to_ascii_digits(text))


def _finglish(text: str, _lots: random.Random) -> str:
    words = to_ascii_digits(text).split(" ")
    return " ".join(_WORDS.get(word) or "".join(_latin(part) for part in word.split(ZWNJ)) for word in words)


def _latin(word: str) -> str:
    """A word in Latin letters: the common spelling, or one by rule (consonants as written, short vowels as “a”)."""
    if word in _WORDS:
        return _WORDS[word]
    sounds = _sounds(word)
    if not any(is_letter for _, is_letter, _ in sounds):
        return "".join(sound for sound, _, _ in sounds)
    out: list[str] = []
    run = 0  # consonants since the last vowel
    has_vowel = False
    for at, (sound, _, is_vowel) in enumerate(sounds):
        if is_vowel:
            has_vowel, run = True, 0
        else:
            follows = at + 1 < len(sounds) and not sounds[at + 1][2]
            # No Persian syllable begins with two consonants or ends in three.
            if (run == 1 and not has_vowel) or (run == 2 and not follows):
                out.append("a")
                has_vowel, run = True, 0
            run += 1
        out.append(sound)
    return "".join(out)


def _sounds(word: str) -> list[tuple[str, bool, bool]]:
    """(Latin, whether it is a letter, whether it is a vowel) of each letter that is heard."""
    sounds: list[tuple[str, bool, bool]] = []
    for at, char in enumerate(word):
        after_vowel = bool(sounds) and sounds[-1][2]
        before_vowel = word[at + 1 : at + 2] in tuple("اآ")
        is_first, is_last = at == 0, at == len(word) - 1
        if char in "اآع":
            if is_first and word[1:2] in ("ی", "و") and len(word) > 2:
                continue  # «این» is in, «او» is o
            if not after_vowel:
                sounds.append(("a", True, True))
        elif char == "و":
            is_consonant = is_first or after_vowel or before_vowel
            sounds.append(("v" if is_consonant else "oo", True, not is_consonant))
        elif char in "یئ":
            is_consonant = (is_first and len(word) > 1) or after_vowel or before_vowel
            sounds.append(("y" if is_consonant else "i", True, not is_consonant))
        elif char == "ه" and is_last and sounds and not after_vowel:
            sounds.append(("e", True, True))
        elif char in CONSONANTS:
            sounds.append((CONSONANTS[char], True, False))
        elif char.isalpha() and not char.isascii():
            continue  # hamza and what Latin spelling leaves out
        elif char not in _DIACRITICS and char != _TATWEEL:
            sounds.append((_LATIN_MARKS.get(char, char), False, False))
    return sounds


VARIANTS: tuple[Variant, ...] = (
    Variant("arabic_letters", "ي and ك of an Arabic keyboard", lambda text, _: text.translate(_ARABIC)),
    Variant("no_half_space", "half-spaces left out", lambda text, _: text.replace(ZWNJ, "")),
    Variant("space_for_half_space", "a space for the half-space", lambda text, _: text.replace(ZWNJ, " ")),
    Variant("digits", "digits of another script", lambda text, _: to_ascii_digits(text).translate(_ARABIC_INDIC)),
    Variant("number_words", "digits for number words", _numerals),
    Variant("diacritics", "vowel marks", _diacritics),
    Variant("tatweel", "a stretched word", _stretch),
    Variant("finglish", "Persian in Latin letters", _finglish),
    Variant("keyboard_layout", "typed with the English layout on", _wrong_layout),
    Variant("typing_slip", "a slip of the finger, two in a long query", _slip),
    Variant("missing_space", "a space left out", _joined),
    Variant("colloquial", "spoken forms", _colloquial),
)
"""Every way to mistype, in the order of reports."""

_BY_CODE: Mapping[str, Variant] = {one.code: one for one in VARIANTS}
