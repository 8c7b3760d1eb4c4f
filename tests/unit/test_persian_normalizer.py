"""`peyda.persian.normalize`: code-point tables, whole sentences, and properties over every `str`."""

from __future__ import annotations

import doctest
import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import peyda.persian.normalizer
from peyda.persian import NORMALIZER_VERSION, normalize

# Characters whose rules look at their neighbours, so that random text often exercises them.
_TRICKY = (
    "ئءیىيهۀةاآأو\u0654\u0653\u0651\u0640\u200c\u200d\u200f\u00ad\ufeff \n\u0301\u0307iIİΣσeEﷺﻻ½ﬁ٣۳3¬´¨`\u0345ͅ\ud800"
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("ي", "ی"),
        ("ى", "ی"),
        ("ې", "ی"),
        ("ێ", "ی"),
        ("ے", "ی"),
        ("ۓ", "ی"),
        ("ك", "ک"),
        ("ڪ", "ک"),
        ("ګ", "گ"),
        ("ە", "ه"),
        ("ہ", "ه"),
        ("ھ", "ه"),
        ("ۀ", "ه"),
        ("ه\u0654", "ه"),
        ("ۂ", "ه"),
        ("ة", "ه"),
        ("أ", "ا"),
        ("إ", "ا"),
        ("ٱ", "ا"),
        ("ا\u0654", "ا"),
        ("ا\u0655", "ا"),
        ("ؤ", "و"),
        ("و\u0654", "و"),
        ("ۆ", "و"),
        ("آ", "آ"),
        ("ا\u0653", "آ"),
        ("ئ", "ئ"),
        ("ي\u0654", "ئ"),
        ("ی\u0654", "ئ"),
        ("ی\u064e\u0654", "ئ"),
        ("ء", "ء"),
        ("ڕ", "ر"),
        ("ڵ", "ل"),
        ("ں", "ن"),
        ("ٹ", "ت"),
        # presentation forms
        ("ﻼ", "لا"),
        ("ﭼ", "چ"),
        ("ﮔ", "گ"),
        ("ﯽ", "ی"),
        ("ﻲ", "ی"),
        ("ﺂ", "آ"),
        ("﷼", "ریال"),
        ("ﷲ", "الله"),
        # digits of every system
        ("۰۱۲۳۴۵۶۷۸۹", "0123456789"),
        ("٠١٢٣٤٥٦٧٨٩", "0123456789"),
        ("०९", "09"),
        ("０９", "09"),
        ("𝟘𝟡", "09"),
        # punctuation and quotes
        ("،؛؟٪٫٬۔", ",;?%.,."),
        ("«»“”„‟‹›", '""""""""'),
        ("‘’‚‛", "''''"),
        ("–—‐−", "----"),
        ("…", "..."),
        ("﴾۱﴿", ")1("),
        # Latin
        ("ABC", "abc"),
        ("Ｐｅｙｄａ", "peyda"),
        ("ﬁ", "fi"),
        ("İstanbul", "istanbul"),
        ("CAFE\u0301", "café"),
        ("ΟΔΟΣ", "οδος"),
        ("photo\u00adgraph", "photograph"),
    ],
)
def test_each_written_form_has_one_form(written: str, expected: str) -> None:
    assert normalize(written) == expected


@pytest.mark.parametrize(
    "half_space",
    ["\u200c", "\u200b", "\u00ac", "\u00ad", "\u2060", "\ufeff", " ", "\u00a0", "\u2009", "\u200c\u200c", " \u200c "],
)
def test_half_space_and_its_misspellings_are_a_space(half_space: str) -> None:
    assert normalize(f"می{half_space}رود") == "می رود"


@pytest.mark.parametrize(
    "nothing",
    [
        *("\u0640", "\u0640\u0640", "\u064e", "\u0651\u064f", "\u0652", "\u0670", "\u06da", "\u06e5", "\u0615"),
        *("\u200d", "\u200e", "\u200f", "\u061c", "\u202b", "\u202c", "\u2067", "\u2069"),
        *("\u08f0", "\x00", "\x1b", "\x7f", "\ufe0f"),
    ],
)
def test_marks_and_invisible_characters_go(nothing: str) -> None:
    assert normalize(f"سل{nothing}ام") == "سلام"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("پائیز", "پاییز"),
        ("زیبائي", "زیبایی"),
        ("اشیاء", "اشیا"),
        ("خانه‌ی بزرگ", "خانه بزرگ"),
        ("خانه ی بزرگ", "خانهٔ بزرگ"),
        ("خانه‌یِ بزرگ", "خانۀ بزرگ"),
        ("مؤمن", "مومن"),
        ("كتاب‌هاي مُحَمَّـد", "کتاب های محمد"),
        ("  دو\n\tسگ\u2028 ", "دو سگ"),
        ("گربه‌ی سیاه، روی مبل!", "گربه سیاه, روی مبل!"),
    ],
)
def test_spellings_of_one_text_meet(one: str, other: str) -> None:
    assert normalize(one) == normalize(other)


@pytest.mark.parametrize("text", ["مسئول", "جزء", "ماهی", "ماه یک", "راه یابی", "سوءاستفاده", "به یاد", "قائم"])
def test_what_only_looks_like_a_variant_stays(text: str) -> None:
    assert normalize(text) == text


@pytest.mark.parametrize("text", ["", " ", "\n\u200c\u2060", "\ud83d", "\udcff\udcfe", "\u0640", "\u200f"])
def test_text_without_content_is_empty(text: str) -> None:
    assert normalize(text) == ""


def test_lone_surrogates_are_a_blank_and_emoji_stay() -> None:
    assert normalize("سگ\ud83dگربه") == "سگ گربه"
    assert normalize("سگ 🐶️") == "سگ 🐶"


def test_every_decimal_digit_becomes_ascii() -> None:
    digits = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Nd"]
    assert len(digits) > 600
    assert [normalize(digit) for digit in digits] == [str(unicodedata.decimal(digit)) for digit in digits]


def test_every_code_point_is_settled_after_one_call() -> None:
    unsettled = [
        hex(code)
        for code in range(sys.maxunicode + 1)
        if normalize(once := normalize(f"ه{chr(code)}یa{chr(code)}")) != once
    ]
    assert unsettled == []


@given(st.one_of(st.text(), st.text(st.characters(exclude_categories=())), st.text(_TRICKY, max_size=12)))
@example("i\u200d\u0307")
@example("e\u200f\u0301\u200f\u0323")
@example("یه ی ی ئئی اءء")
def test_normalizing_twice_changes_nothing(text: str) -> None:
    once = normalize(text)
    assert normalize(once) == once


@given(st.text(st.characters(exclude_categories=())))
def test_result_is_clean_whatever_comes_in(text: str) -> None:
    result = normalize(text)
    result.encode("utf-8")  # no lone surrogate is left
    assert result == " ".join(result.split())
    assert not any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in result)
    assert not any(unicodedata.category(char) == "Nd" and not char.isascii() for char in result)


@given(st.text("ابکیهو 12", max_size=20), st.text("\u064b\u0651\u0640\u200f\u200d", max_size=3), st.integers(0, 20))
def test_marks_anywhere_change_nothing(text: str, marks: str, at: int) -> None:
    assert normalize(text[:at] + marks + text[at:]) == normalize(text)


def test_a_flood_of_marks_is_cut_and_settled() -> None:
    once = normalize("e" + "\u0323\u0301" * 50_000)
    assert len(once) < 100
    assert normalize(once) == once


@pytest.mark.parametrize(
    "unit",
    [
        "ئ",
        "ئ ",
        "ه ی",
        "ی\u0654",
        "ی\u064e",
        " ",
        "a\u00ad",
        "\u200c",
        "ﷺ",
        "ا\u0653",
        "e\u0301",
        "I",
        "¬",
        "یئ",
        "اء",
        "ab",
        "a_",
    ],
)
def test_long_and_monotonous_text_takes_no_quadratic_time(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    once = normalize(text + "!")
    assert normalize(once) == once
    assert once.endswith("!")


def test_version_is_a_non_empty_string() -> None:
    assert NORMALIZER_VERSION == "1"


def test_examples_in_the_module_run() -> None:
    result = doctest.testmod(peyda.persian.normalizer)
    assert result.attempted >= 3
    assert result.failed == 0
