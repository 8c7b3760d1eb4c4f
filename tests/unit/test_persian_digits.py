"""`peyda.persian.digits`: decimal digits of every script, both ways."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st

import peyda.persian.digits
from peyda.persian import to_ascii_digits, to_persian_digits


def test_all_systems_meet() -> None:
    assert to_ascii_digits("۱۴۰۳ ١٤٠٣ 1403 १४०३ １４０３") == "1403 1403 1403 1403 1403"
    assert to_persian_digits("۱۴۰۳ ١٤٠٣ 1403") == "۱۴۰۳ ۱۴۰۳ ۱۴۰۳"


def test_other_numbers_and_letters_stay() -> None:
    assert to_ascii_digits("½ ² Ⅻ يك") == "½ ² Ⅻ يك"


@given(st.text(st.characters(exclude_categories=())))
def test_there_and_back(text: str) -> None:
    ascii_digits = to_ascii_digits(text)
    assert to_ascii_digits(to_persian_digits(text)) == ascii_digits
    assert len(ascii_digits) == len(text)


def test_examples_in_the_module_run() -> None:
    result = doctest.testmod(peyda.persian.digits)
    assert result.attempted >= 2
    assert result.failed == 0
