"""`peyda.persian.spelling`: slips are put right, and what is right is left alone."""

from __future__ import annotations

import doctest
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

import peyda.persian.finglish
import peyda.persian.spelling
from peyda.encoders import load_encoder
from peyda.encoders.spelling import unigram_log_probability
from peyda.errors import ModelError
from peyda.persian import normalize
from peyda.persian.lexicon import everyday_names, imagenet_names, word_counts
from peyda.persian.spelling import Speller
from peyda.persian.typos import mistype

ZWNJ = "\N{ZERO WIDTH NON-JOINER}"
TOKENIZER = files("peyda").joinpath("models/mini/textual/tokenizer.json")


@pytest.fixture(scope="module")
def speller() -> Speller:
    from tokenizers import Tokenizer

    path = str(TOKENIZER)
    return Speller(word_counts(), unigram_log_probability(Tokenizer.from_file(path), TOKENIZER))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("دوجرخه قرمز", "دوچرخه قرمز"),  # a neighbouring key
        ("دوچرحه قرمز", "دوچرخه قرمز"),
        ("دوچرخهه قرمز", "دوچرخه قرمز"),  # a letter twice
        ("دچرخه قرمز", "دوچرخه قرمز"),  # a letter lost
        ("دورچخه قرمز", "دوچرخه قرمز"),  # two letters swapped
        ("مردی ثوار اصب", "مردی سوار اسب"),  # letters of the same sound
        ("سگ سفیددر برف", "سگ سفید در برف"),  # a space lost
        ("پسریو دختری", "پسری و دختری"),
        ("مردی که میدود", "مردی که می دود"),  # a half-space lost
        ("قایقهای آبی", "قایق های آبی"),
        ("خانهی قدیمی", "خانه قدیمی"),  # the ی of the ezafe
        ("s' stdn nv fvt", "سگ سفید در برف"),  # the English layout
        ("2 سگ و 10 گربه", "دو سگ و ده گربه"),
        ("pesari ba kolahe ghermez kenare darya", "پسری با کلاه قرمز کنار دریا"),
        ("gorbe sefid", "گربه سفید"),
        ("docharkheh", "دوچرخه"),
        ("zani ba sofreye sefid", "زنی با سفره سفید"),
        ("dokhtari ke mikhandad", "دختری که می خندد"),
        ("bacheha dar hale bazi", "بچه ها در حال بازی"),
        ("n,]voi rvlc", "دوچرخه قرمز"),
    ],
)
def test_by_hand(speller: Speller, typed: str, meant: str) -> None:
    assert speller.correct(typed) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "سگی در برف می دود",
        "a dog in the snow",
        "iPhone 12".lower(),
        "2 dogs",
        "اتوبوس 206",
        "مشروطه خواهان تبریز",  # no caption has these words
        "فرودگاه مهرآباد",
        "دوربین nikon",
        "کتابخانه ملی",
        "dog, cat",
        "two dogs running on the beach",
        "golden retriever",
        "brown dog",
        "mountain bike",
        "leopard",
        "nikon d750 lens",
    ],
)
def test_what_is_right_stays(speller: Speller, text: str) -> None:
    assert speller.correct(text) == text


def test_our_own_names_are_known(speller: Speller) -> None:
    names = [normalize(name) for entry in (*imagenet_names(), *everyday_names()) for name in entry.fa]
    changed = {name: found for name in names if (found := speller.correct(name)) != name}
    assert changed == {}


def test_an_unlikely_word_is_sooner_a_slip() -> None:
    counts = {"دوچرخه": 50}
    assert Speller(counts, lambda _: -30.0).correct("دوجرخه") == "دوچرخه"
    assert Speller(counts, lambda _: -8.0).correct("دوجرخه") == "دوجرخه"


def test_the_commoner_word_is_meant() -> None:
    speller = Speller({"سفید": 900, "سپید": 90}, lambda _: -40.0)
    assert speller.correct("سید") == "سفید"
    assert speller.correct("سپد") == "سپید"


def test_half_of_the_slips_in_common_words_are_put_right(speller: Speller) -> None:
    """Slips of the measuring tool, in the commonest long words of the captions."""
    words = [word for word in list(word_counts())[:600] if len(word) > 4 and ZWNJ not in word]
    slips = [(word, mistype(word, "typing_slip", seed=seed)) for word in words for seed in range(2)]
    slips = [(word, slip) for word, slip in slips if slip not in word_counts()]
    assert sum(speller.correct(slip) == word for word, slip in slips) > 0.5 * len(slips) > 100


@given(st.text(alphabet=st.sampled_from("سگدربفیهاوآ abcگ'[;,.12\u200c"), max_size=40))
def test_any_text(speller: Speller, text: str) -> None:
    normal = normalize(text)
    corrected = speller.correct(normal)
    assert corrected == normalize(corrected)
    assert speller.correct(corrected + " ").strip(" ") == speller.correct(corrected).strip(" ")


def test_long_texts_cost_no_more_than_a_tower_reads(speller: Speller) -> None:
    text = " ".join(["دوجرخه"] * 70)
    assert speller.correct(text).split().count("دوجرخه") == 6
    endless = "ب" * 3000
    assert speller.correct(endless) == endless


def test_the_embedded_model_reads_slips_as_what_was_meant() -> None:
    encoder = load_encoder("mini")
    slip, clean, other = encoder.encode_texts(["دوجرخه قرمز", "دوچرخه قرمز", "چمدان قرمز"])
    assert slip @ clean == pytest.approx(1, abs=1e-5)
    assert slip @ other < 0.99


def test_needs_a_unigram_tokenizer(tmp_path: object) -> None:
    from pathlib import Path

    from tokenizers import Tokenizer, models

    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    path = Path(str(tmp_path)) / "tokenizer.json"
    tokenizer.save(str(path))
    with pytest.raises(ModelError, match="not a unigram tokenizer"):
        unigram_log_probability(tokenizer, path)


def test_examples() -> None:
    assert doctest.testmod(peyda.persian.spelling).failed == 0
    assert doctest.testmod(peyda.persian.finglish).failed == 0
