"""`peyda.persian.typos`: each variant does what its name says, and nothing else."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

import peyda.persian.colloquial
import peyda.persian.typos
from peyda.persian import normalize
from peyda.persian.typos import VARIANTS, mistype

CODES = [one.code for one in VARIANTS]
ZWNJ = "\N{ZERO WIDTH NON-JOINER}"
TEXT = f"دو سگ قهوه{ZWNJ}ای در پارک بازی می{ZWNJ}کنند"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("arabic_letters", f"دو سگ قهوه{ZWNJ}اي در پارك بازي مي{ZWNJ}كنند"),
        ("no_half_space", "دو سگ قهوهای در پارک بازی میکنند"),
        ("space_for_half_space", "دو سگ قهوه ای در پارک بازی می کنند"),
        ("number_words", f"۲ سگ قهوه{ZWNJ}ای در پارک بازی می{ZWNJ}کنند"),
        ("colloquial", f"دو سگ قهوه{ZWNJ}ای در پارک بازی میکنن"),
        ("keyboard_layout", "n, s' ri,i hd nv mhv; fhcd ld ;kkn"),
        ("finglish", "do sag ghahvei dar park bazi mikonand"),
    ],
)
def test_by_hand(code: str, expected: str) -> None:
    assert mistype(TEXT, code) == expected


@pytest.mark.parametrize(
    ("word", "latin"),
    [
        ("سگ", "sag"), ("دختر", "dokhtar"), ("سفید", "sefid"), ("کتاب", "katab"), ("میز", "miz"), ("روز", "rooz"),
        ("پنجره", "panjare"), ("ایران", "iran"), ("یخ", "yakh"), ("نان", "nan"), ("باغ", "bagh"), ("شیر", "shir"),
    ],
)  # fmt: skip
def test_finglish_by_rule_reads_like_finglish(word: str, latin: str) -> None:
    assert mistype(word, "finglish") == latin


def test_digits_change_script_only() -> None:
    assert mistype("۳ گربه و 12 سگ", "digits") == "٣ گربه و ١٢ سگ"


@pytest.mark.parametrize("code", ["arabic_letters", "space_for_half_space", "digits", "diacritics", "tatweel"])
@given(text=st.text(alphabet="ابپتسشکگلمنوهی ۰۱۲", min_size=1, max_size=30))
def test_the_normaliser_undoes_what_it_promises_to(code: str, text: str) -> None:
    assert normalize(mistype(text, code)) == normalize(text)


@pytest.mark.parametrize("code", CODES)
@given(text=st.text(max_size=40))
def test_defined_for_every_text_and_repeatable(code: str, text: str) -> None:
    assert mistype(text, code) == mistype(text, code)


@pytest.mark.parametrize("code", CODES)
def test_where_there_is_nothing_to_mistype_so_the_text_stays(code: str) -> None:
    assert mistype("", code) == ""
    assert mistype("?!", code) == "?!"


def test_a_slip_is_one_small_change_and_seeds_differ() -> None:
    text = "سگی در برف می دود"
    slips = {mistype(text, "typing_slip", seed=seed) for seed in range(40)}
    assert text not in slips
    assert len(slips) > 10
    for slip in slips:
        assert abs(len(slip) - len(text)) <= 1
        same = sum(one == other for one, other in zip(slip, text, strict=False))
        same_from_the_end = sum(one == other for one, other in zip(slip[::-1], text[::-1], strict=False))
        assert same + same_from_the_end >= len(text) - 2
        assert slip.count(" ") == text.count(" ")


def test_a_missing_space_joins_two_words() -> None:
    joined = mistype("سگی در برف", "missing_space")
    assert joined in {"سگیدر برف", "سگی دربرف"}
    assert mistype("سگ", "missing_space") == "سگ"


def test_every_variant_changes_a_usual_query() -> None:
    assert [code for code in CODES if mistype(TEXT + " ۳", code) == TEXT + " ۳"] == []
    with pytest.raises(KeyError):
        mistype(TEXT, "telepathy")


def test_examples_in_the_module_run() -> None:
    result = doctest.testmod(peyda.persian.typos)
    assert result.attempted >= 3
    assert result.failed == 0
    assert doctest.testmod(peyda.persian.colloquial).failed == 0
