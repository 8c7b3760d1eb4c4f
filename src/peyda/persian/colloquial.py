"""Written Persian as it is spoken: «می‌شود» → «میشه», «خانه» → «خونه», «آن را» → «اون رو».

The forms are those that captions and searches use: verbs of the third person, common nouns, «را», «یک», «است», plurals.
The lists were written for Peyda. A form that the lists do not know stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from peyda.persian.letters import ZWNJ

_START = rf"(?<![\w{ZWNJ}])"
_END = rf"(?![\w{ZWNJ}\u064b-\u0654])"

# Present stem → spoken one; the endings ‹د› and ‹ند› become ‹ه› and ‹ن›.
_STEMS = {
    "رو": "ر", "شو": "ش", "گوی": "گ", "ده": "د", "نشین": "شین", "انداز": "نداز", "گذار": "ذار", "توان": "تون",
    "خوان": "خون", "شوی": "شور", "مان": "مون", "ران": "رون", "رسان": "رسون", "چرخان": "چرخون", "پران": "پرون",
    "تکان": "تکون", "افت": "فت", "آور": "ار", "آی": "ا", "خواه": "خوا",
    **{stem: stem for stem in (
        "کن", "زن", "خور", "گیر", "پر", "دو", "خند", "کش", "بر", "بین", "نواز", "رقص", "گذر", "نویس", "دار", "ریز",
        "پوش", "فروش", "ساز", "چرخ", "چر", "لرز", "پیچ", "چین", "پز", "بار", "تاب", "وز", "کوب", "رس", "بند", "شنو",
        "جنگ", "خواب", "شناس", "گرد", "بوس", "لیس", "شکن", "سوز", "لغز", "جه", "خز", "مال", "کار", "دوز", "غر", "تاز",
    )},
}  # fmt: skip
_KEEPS_DAL = {"آی", "خواه"}  # «میاد», «میخواد»
_JOINED = {"آی", "آور", "افت", "انداز"}  # nobody writes «می‌اد»

_NOUNS = {
    "خانه": "خونه", "رودخانه": "رودخونه", "آشپزخانه": "آشپزخونه", "کتابخانه": "کتابخونه", "قهوه‌خانه": "قهوه‌خونه",
    "نان": "نون", "باران": "بارون", "خیابان": "خیابون", "آسمان": "آسمون", "میدان": "میدون", "تابستان": "تابستون",
    "زمستان": "زمستون", "حیوان": "حیوون", "مهمان": "مهمون", "جوان": "جوون", "شانه": "شونه", "دندان": "دندون",
    "پیراهن": "پیرهن", "هندوانه": "هندونه", "دیوانه": "دیوونه", "صبحانه": "صبحونه", "دانه": "دونه", "بیابان": "بیابون",
    "چوپان": "چوپون", "نردبان": "نردبون", "زبان": "زبون", "گلدان": "گلدون", "مهربان": "مهربون", "گنجشک": "گنجیشک",
    "ارزان": "ارزون", "گران": "گرون", "تکان": "تکون", "نشان": "نشون",
}  # fmt: skip
_WORDS = {
    "را": "رو", "آن": "اون", f"آن{ZWNJ}ها": "اونا", "آنها": "اونا", f"این{ZWNJ}ها": "اینا", "اینها": "اینا",
    "آنجا": "اونجا", "همان": "همون", "یک": "یه", "دیگر": "دیگه", "اگر": "اگه", "کدام": "کدوم", "تمام": "تموم",
    "کوچک": "کوچیک", "چهار": "چار", "نگاه": "نگا", "روی": "رو", "توی": "تو", "جلوی": "جلو",
    "دارد": "داره", "دارند": "دارن", "ندارد": "نداره", "ندارند": "ندارن", "هستند": "هستن", "نیستند": "نیستن",
    "ایستاده": "وایساده", f"ایستاده{ZWNJ}اند": "وایسادن", f"می{ZWNJ}ایستد": "وایمیسته", f"می{ZWNJ}ایستند": "وایمیستن",
}  # fmt: skip
_CONSONANT = "[بپتثجچحخدذرزژسشصضطظعغفقکگلمن]"
_PARTICIPLE = r"\w+(?:شسته|تاده|ساده|شده|مانده|یده|رفته|کرده|داده|اشته|اخته|ورده|بسته)"

_Draw = Callable[[], float]
_Replacement = Callable[[re.Match[str], _Draw], str]


def _any_of(words: dict[str, str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


def _verb(found: re.Match[str], draw: _Draw) -> str:
    stem = found["stem"]
    ending = "ن" if found["ending"] == "ند" else "د" if stem in _KEEPS_DAL else "ه"
    joint = ZWNJ if draw() < 0.3 and stem not in _JOINED else ""
    return found["prefix"] + joint + _STEMS[stem] + ending


_FORMS: tuple[tuple[re.Pattern[str], _Replacement], ...] = (
    (re.compile(_START + f"(?:{_any_of(_WORDS)})" + _END), lambda found, _: _WORDS[found[0]]),
    (
        re.compile(rf"{_START}(?P<prefix>ن?می)[{ZWNJ} ]?(?P<stem>{_any_of(_STEMS)})(?P<ending>ن?د){_END}"),
        _verb,
    ),
    (
        re.compile(rf"{_START}(?:{_any_of(_NOUNS)})(?=(?:ی|{ZWNJ}\w+)?{_END})"),
        lambda found, _: _NOUNS[found[0]],
    ),
    # «نشسته‌اند» → «نشستن», «نشسته است» → «نشسته», «سفید است» → «سفیده»
    (re.compile(rf"(?<=\w\w)ه{ZWNJ}اند{_END}"), lambda *_: "ن"),
    (re.compile(rf"{_START}({_PARTICIPLE}) است{_END}"), lambda found, _: found[1]),
    (re.compile(rf"(?<=\w)({_CONSONANT}|ی) است{_END}"), lambda found, _: found[1] + "ه"),
    # «دست‌هایشان» → «دستاشون», «سگ‌ها» → «سگا», «درخت‌های» → «درختای»
    (re.compile(rf"(?<=\w)({_CONSONANT}){ZWNJ}هایشان{_END}"), lambda found, _: found[1] + "اشون"),
    (re.compile(rf"(?<=\w)({_CONSONANT}){ZWNJ}هایش{_END}"), lambda found, _: found[1] + "اش"),
    (re.compile(rf"(?<=\w)({_CONSONANT}){ZWNJ}ها(ی?){_END}"), lambda found, _: found[1] + "ا" + found[2]),
    (re.compile(rf"{ZWNJ}شان{_END}"), lambda *_: f"{ZWNJ}شون"),
)


def colloquial(text: str, draw: Callable[[], float], share: float = 1.0) -> str:
    """`text` as it is spoken.

    Args:
        text: Written Persian, with half-spaces where they belong.
        draw: Gives numbers from 0 to 1, 1 excluded, by chance.
        share: Chance of each form to be replaced.

    >>> import random
    >>> colloquial("مردی روی نیمکت نشسته است و نان می‌خورد", random.Random(0).random)
    'مردی رو نیمکت نشسته و نون میخوره'
    """
    for pattern, replace in _FORMS:
        text = pattern.sub(partial(_maybe, replace, draw, share), text)
    return text


def _maybe(replace: _Replacement, draw: _Draw, share: float, found: re.Match[str]) -> str:
    return replace(found, draw) if draw() < share else found[0]
