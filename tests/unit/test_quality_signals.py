"""Cheap signals and rules: what each objects to, and what good Persian it must leave alone."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import peyda.quality.numbers
import peyda.quality.signals
from peyda.quality import REASONS, SIGNALS, CaptionPair, default_rules
from peyda.quality.numbers import has_number, numbers_in, persian_parts
from peyda.quality.rules import FailedRule, LengthRule, TooLongRule, UntranslatedRule, judge
from peyda.quality.signals import copy_score, length_score, numbers_score, repetition_score, script_score

REJECTED = [
    ("failed", "A dog runs", "سگی می‌دود", {"translate_error": "rate_limited: slow down"}),
    ("empty", "A dog runs", "", {}),
    ("empty", "A dog runs", " \u200c … ! ", {}),
    ("too_long", "A dog runs", "سگ " * 400, {}),
    ("copy", "A dog runs on the beach.", "a dog runs on the beach", {}),
    ("not_persian", "A dog runs on the beach", "Ein Hund läuft am Strand", {}),
    ("not_persian", "A BMX race", "BMX Race 20!", {}),
    ("other_script", "A dog runs on the beach", "سگی در 海滩 می‌دود", {}),
    ("other_script", "A dog runs on the beach", "سگی в ساحل می‌دود", {}),
    ("untranslated", "A bathroom with two urinals", "حمامی با دو urinals روی دیوار", {}),
    ("untranslated", "The bench's weight may be strained", "ممکن است وزن bench's کم شود باز هم", {}),
    ("untranslated", "Cityscape of an old town in the sun", "Cityscape یک شهر قدیمی زیر آفتاب", {}),
    ("repetition", "A child sings in the bathtub", "کودکی در وان حمام در وان حمام آواز می‌خواند", {}),
    ("repetition", "A woman with a knife and fork", "زنی با چاقو و چاقو", {}),
    ("repetition", "A girl on a teeter totter", "دختری که روی یک تکه تکه تکه نشسته است", {}),
    ("length", "A bathroom which includes a bidet is very dirty and old", "حمام کثیف", {}),
    ("length", "A dog runs", "سگی بزرگ و قهوه‌ای که قلاده‌ای سرخ دارد در ساحل شنی کنار دریا می‌دود", {}),
    ("missing_number", "Two giraffes eating grass", "زرافه‌ها علف می‌خورند", {}),
    ("missing_number", "A school in April of 1929", "مدرسه‌ای در آوریل ۲۰۰۷", {}),
    ("missing_number", "Five boys holding two frisbees", "پنج پسر روی چمن نشسته‌اند", {}),
]

KEPT = [
    ("A striped zebra runs out of breath", "گورخر راه‌راهی نفس‌نفس‌زنان می‌دود"),
    ("A child plays with a toy", "بچه‌ای با اسباب‌بازی بازی می‌کند"),
    ("A brown dog, a black dog and a black and white dog", "سگی قهوه‌ای، سگی سیاه و سگی سیاه و سفید"),
    ("A black Honda motorcycle in front of a garage", "یک موتورسیکلت Honda سیاه جلوی گاراژ"),
    ("A player in shirt number 28 and an mp3 player", "بازیکنی با پیراهن شمارهٔ ۲۸ و یک پخش‌کنندهٔ mp3"),
    ("A woman watches tv", "زنی TV تماشا می‌کند"),
    ("Two dogs", "دوتا سگ"),
    ("almost 2 dozen people", "نزدیک به بیست‌وچهار نفر"),
    ("a fridge in the style of the 50s", "یخچالی به سبک دههٔ پنجاه"),
    ("A four wheel drive car in the mud", "خودروی شاسی‌بلندی در میان گل‌ولای"),
    ("one of the men", "یکی از مردها"),
    ("A sign with 1,929 on it", "تابلویی که رویش ۱۹۲۹ نوشته شده"),
    ("", "گربه‌ای روی مبل خوابیده است"),
    ("", "ماشین Toyota جلوی خانه"),
]


@pytest.mark.parametrize("module", [peyda.quality.numbers, peyda.quality.signals])
def test_examples_in_the_documentation(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(("reason", "english", "persian", "row"), REJECTED)
def test_a_bad_translation_is_rejected_for_its_reason(
    reason: str, english: str, persian: str, row: dict[str, str]
) -> None:
    assert judge(CaptionPair(english, persian, row), default_rules()) == (False, reason)


@pytest.mark.parametrize(("english", "persian"), KEPT)
def test_good_persian_is_kept(english: str, persian: str) -> None:
    assert judge(CaptionPair(english, persian), default_rules()) is True


def test_every_rule_has_a_case_and_a_meaning() -> None:
    reasons = [rule.reason for rule in default_rules()]
    assert {case[0] for case in REJECTED} == set(reasons)
    assert reasons == [reason for reason in REASONS if reason in reasons], "rules run in the order of REASONS"


def test_bounds_of_rules_can_be_moved() -> None:
    pair = CaptionPair("A bathroom with urinals", "حمامی با urinals")
    assert UntranslatedRule().check(pair) == (False, "untranslated")
    assert UntranslatedRule(max_words=1).check(pair) is True
    assert LengthRule(min_score=0).check(CaptionPair("a " * 100, "س")) is True
    assert TooLongRule(max_characters=3).check(CaptionPair("", "سگ‌ها")) == (False, "too_long")
    assert FailedRule().check(CaptionPair("", "", {"error": "  ", "translate_error": ""})) is True


def test_script_is_the_share_of_arabic_letters() -> None:
    assert script_score(CaptionPair("", "سگ ab")) == 0.5
    assert script_score(CaptionPair("", "۱۲۳ !")) == 0
    assert script_score(CaptionPair("", "كتاب")) == 1


def test_length_is_the_same_distance_up_and_down() -> None:
    usual = length_score(CaptionPair("a" * 92, "ب" * 80))
    assert usual == pytest.approx(1)
    assert length_score(CaptionPair("a" * 92, "ب" * 36)) == pytest.approx(0.5)
    assert length_score(CaptionPair("a" * 92, "ب" * 168)) == pytest.approx(0.5)


def test_repetition_counts_the_words_that_say_nothing_new() -> None:
    assert repetition_score(CaptionPair("", "سگ سگ سگ سگ سگ")) == pytest.approx(2 / 5)
    assert repetition_score(CaptionPair("", "یک دو سه چهار یک دو سه چهار")) == pytest.approx(4 / 8)
    stuck = "مردی با " + "یک سبد کاغذ، " * 20
    assert repetition_score(CaptionPair("", stuck)) < 0.15
    assert repetition_score(CaptionPair("", "# # # # #")) < 1


def test_numbers_are_a_share() -> None:
    assert numbers_score(CaptionPair("Two dogs, three cats", "دو سگ و چند گربه")) == 0.5
    assert copy_score(CaptionPair("A  Dog!", "a dog")) == 0
    assert copy_score(CaptionPair("", "")) == 1


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Five thousand six hundred thirty three", [5, 6, 30, 3]),
        ("someone and one more", []),
        ("the 8th of 21 on flight ba747", [8, 21]),
        ("9999999999 is a code", []),
        ("two toned shoes", []),
    ],
)
def test_numbers_of_english(text: str, numbers: list[int]) -> None:
    assert numbers_in(CaptionPair(text, "").words_en) == numbers


@pytest.mark.parametrize(
    ("persian", "number", "expected"),
    [
        ("۵۶۳۳", 5633, True),
        ("پنج هزار و ششصد و سی و سه", 5633, True),
        ("بیست‌ویکمین", 21, True),
        ("یک دوجین", 12, True),
        ("۰۷", 7, True),
        ("۲۱", 2, False),
        ("دویست", 2, True),  # begins with it: two hundred
        ("چهل", 4, False),
    ],
)
def test_numbers_of_persian(persian: str, number: int, expected: bool) -> None:
    assert has_number(CaptionPair("", persian).words_fa, number) is expected


@settings(deadline=None)
@given(st.integers(1, 9_999))
def test_a_number_in_its_own_words_or_digits_is_found(number: int) -> None:
    assert has_number(CaptionPair("", " و ".join(persian_parts(number))).words_fa, number)
    assert has_number(CaptionPair("", f"شمارهٔ {number}").words_fa, number)


@settings(deadline=None)
@given(st.text(), st.text())
def test_signals_are_total_and_between_0_and_1(english: str, persian: str) -> None:
    pair = CaptionPair(english, persian)
    for name, signal in SIGNALS.items():
        assert 0 <= signal(pair) <= 1, name
    verdict = judge(pair, default_rules())
    assert verdict is True or verdict[1] in REASONS


def test_a_million_characters_cost_no_more_than_a_long_caption() -> None:
    pair = CaptionPair("two " * 250_000, "تکه " * 250_000)
    assert len(pair.words_fa) <= 1_000
    assert judge(pair, default_rules()) == (False, "too_long")
    for signal in SIGNALS.values():
        signal(pair)
