"""Augmentation: what it may change in a photograph and in a caption, and what it must leave true."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from peyda.errors import ConfigError
from peyda.persian import normalize
from peyda.persian.colloquial import colloquial
from peyda.training.loading import ImageAugmentation, TypedPersian
from peyda.training.loading.augment import jitter_colours, lose_detail, names_colour, random_crop, says_side
from peyda.training.loading.typed import SURVIVES_NORMALIZING

KEYS = [one.name for one in fields(TypedPersian)]
CAPTIONS = (
    "مردی روی نیمکت نشسته است و کتاب می‌خواند",
    "دو سگ قهوه‌ای که در برف می‌دوند",
    "بچه‌ها کنارِ خانهٔ آبی آب‌بازی می‌کنند، ۳ نفر",
    "زنی با کلاه صورتی",
    "پرندهٔ کوچکی واقعاً نزدیک می‌شود",
)


def lots(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def gradient(width: int = 60, height: int = 40) -> Image.Image:
    """Red grows to the right, green grows downwards."""
    across = np.linspace(0, 255, width)[None, :].repeat(height, 0)
    down = np.linspace(0, 255, height)[:, None].repeat(width, 1)
    return Image.fromarray(np.stack([across, down, np.full_like(across, 128)], -1).astype(np.uint8))


def only(**chances: float) -> TypedPersian:
    return TypedPersian(**dict.fromkeys(KEYS, 0.0) | chances)


def is_mirrored(image: Image.Image) -> bool:
    red = np.asarray(image, np.int32)[:, :, 0]
    return bool(red[:, 0].mean() > red[:, -1].mean())


# --- photographs ---------------------------------------------------------------------------------------------------


def test_none_changes_nothing() -> None:
    image = gradient()
    for seed in range(20):
        assert np.array_equal(ImageAugmentation.none()(image, lots(seed), ["سگ"]), image)


def test_the_same_lots_give_the_same_photograph() -> None:
    augment, image = ImageAugmentation(), gradient()
    results = {np.asarray(augment(image, lots(seed))).tobytes() for seed in (1, 1, 2, 3)}
    assert len(results) == 3


@pytest.mark.parametrize(
    "texts",
    [
        ["سگی در سمت چپ"], ["سگ", "توپی که سمتِ راستِ اوست"], ["دست راستش را بالا برده"], ["مرد چپ‌دست"],
        ["از راست به چپ"],
        ["A dog on the LEFT."], ["the right-hand side"], ["he is right-handed"], ["turning leftwards"],
        ["سمت راست‌ترین میز"],
    ],
)  # fmt: skip
def test_no_mirror_image_where_a_side_is_said(texts: list[str]) -> None:
    augment = ImageAugmentation(flip=1.0)
    assert says_side(texts)
    for seed in range(10):
        assert not is_mirrored(augment(gradient(), lots(seed), texts))


@pytest.mark.parametrize("texts", [[], ["سگی در برف"], ["راستای خیابان", "a bright copyright sign"], ["درست وسط جاده"]])
def test_mirror_images_otherwise(texts: list[str]) -> None:
    assert not says_side(texts)
    flipped = sum(is_mirrored(ImageAugmentation()(gradient(), lots(seed), texts)) for seed in range(200))
    assert 60 < flipped < 140


def test_no_greys_where_a_colour_is_named() -> None:
    augment = ImageAugmentation(grey=1.0)

    def is_grey(image: Image.Image) -> bool:
        pixels = np.asarray(image, np.int32)
        return bool((pixels.max(-1) == pixels.min(-1)).all())

    for texts, expected in (
        (["سگ"], True),
        ([], True),
        (["توپ قرمز"], False),
        (["سگ", "a woman in Green"], False),
        (["لباس سفیدی"], False),
        (["موهای قهوه‌ای"], False),
        (["the colour of the sea"], False),
    ):
        assert names_colour(texts) is not expected
        assert is_grey(augment(gradient(), lots(0), texts)) is expected


def test_captions_change_the_mirror_image_alone() -> None:
    augment = ImageAugmentation(flip=1.0)
    for seed in range(10):
        said = augment(gradient(), lots(seed), ["چپ"])
        free = augment(gradient(), lots(seed), ["سگ"])
        assert np.array_equal(np.asarray(free.transpose(Image.Transpose.FLIP_LEFT_RIGHT)), np.asarray(said))


def test_crops_keep_their_share() -> None:
    image = gradient(200, 100)
    shares, stretches = [], []
    for seed in range(300):
        part = random_crop(image, lots(seed), (0.5, 1.0), (3 / 4, 4 / 3))
        shares.append(part.width * part.height / (200 * 100))
        stretches.append(part.width / part.height / 2)
        corner = np.asarray(part)[0, 0]
        assert corner[0] in np.asarray(image)[:, :, 0]
    assert 0.48 < min(shares) < 0.56
    assert max(shares) > 0.93
    assert 0.74 < min(stretches) < 0.85
    assert 1.18 < max(stretches) < 1.35
    assert random_crop(image, lots(0), (1.0, 1.0), (1.0, 1.0)) is image


def test_lost_detail_keeps_the_size() -> None:
    noise = Image.fromarray(lots(0).integers(0, 256, (120, 160, 3), dtype=np.uint8))
    spreads = [float(np.asarray(lose_detail(noise, lots(seed), 32), np.float32).std()) for seed in range(40)]
    assert all(lose_detail(noise, lots(seed), 32).size == (160, 120) for seed in range(5))
    assert min(spreads) < 30 < 55 < max(spreads)
    assert lose_detail(noise, lots(0), 120) is noise


def test_colours_stay_within_their_strength() -> None:
    grey = Image.new("RGB", (8, 8), (100, 100, 100))
    values = [np.asarray(jitter_colours(grey, lots(seed), 0.2, 0.0, 0.0))[0, 0, 0] for seed in range(200)]
    assert 79 <= min(values) < 86
    assert 114 < max(values) <= 121
    assert jitter_colours(grey, lots(0), 0.0, 0.0, 0.0) is grey


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10_000))
def test_photographs_of_every_size_survive(width: int, height: int, seed: int) -> None:
    augment = ImageAugmentation((0.01, 1.0), (0.1, 10.0), 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1)
    out = augment(Image.new("RGB", (width, height), (9, 99, 199)), lots(seed))
    assert out.mode == "RGB"
    assert 1 <= out.width <= width
    assert 1 <= out.height <= height


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": 1.5}, {"grey": -0.1}, {"crop_area": (0.0, 1.0)}, {"crop_area": (0.9, 0.5)}, {"crop_area": (0.5, 1.5)},
        {"crop_ratio": (2.0, 1.0)}, {"small_px": 0}, {"brightness": float("nan")},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ImageAugmentation(**wrong)  # type: ignore[arg-type]


# --- captions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("half_space", "می‌رود", {"میرود", "می رود"}),
        ("missing_space", "سگ سیاه", {"سگسیاه"}),
        ("madda", "آب و آسمان", {"اب و اسمان"}),
        ("sound", "صندلی", {"سندلی", "ثندلی"}),
        ("number_words", "دو سگ", {"۲ سگ"}),
        ("marks", "خانهٔ واقعاً", {"خانه واقعا"}),
        ("digits", "3 سگ و ۴ گربه", {"3 سگ و 4 گربه", "۳ سگ و ۴ گربه", "٣ سگ و ٤ گربه"}),
        ("arabic", "یک پرنده", {"يك پرنده", "يك پرندة"}),
        ("colloquial", "می‌شود", {"میشه", "می‌شه"}),
    ],
)
def test_each_way_of_typing(key: str, text: str, expected: set[str]) -> None:
    found = {only(**{key: 1.0})(text, lots(seed)) for seed in range(200)} - {text}
    assert found == expected - {text}


def test_a_slip_is_one() -> None:
    found = {only(slip=1.0)("درخت", lots(seed)) for seed in range(300)}
    assert {"دخت", "درت", "درخ", "دررخت", "درخخت", "درختت", "ردخت", "دخرت", "درتخ", "دذخت", "درحت", "درخن"} <= found
    assert {len(one) for one in found} == {3, 4, 5}


def test_every_key_has_a_way() -> None:
    for key in KEYS:
        changed = [
            only(**{key: 1.0})(text, lots(seed)) != text for text in (*CAPTIONS, "یک گربه") for seed in range(10)
        ]
        assert any(changed), key


@pytest.mark.parametrize("key", KEYS)
def test_what_survives_normalising(key: str) -> None:
    differs = [
        normalize(only(**{key: 1.0})(text, lots(seed))) != normalize(text)
        for text in (*CAPTIONS, "یک گربه")
        for seed in range(20)
    ]
    assert any(differs) is (key in SURVIVES_NORMALIZING)


texts_of_any_kind = st.one_of(
    st.sampled_from(CAPTIONS),
    st.text(alphabet="آابپتسشصدذرزهکگیو ‌ًٔ۰۱7.,", max_size=60),
    st.text(max_size=40),
)


@given(texts_of_any_kind, st.integers(0, 10_000))
def test_without_chances_texts_stay(text: str, seed: int) -> None:
    assert TypedPersian.none()(text, lots(seed)) == text


@given(texts_of_any_kind, st.integers(0, 10_000))
def test_texts_stay_texts(text: str, seed: int) -> None:
    everything = TypedPersian(**dict.fromkeys(KEYS, 1.0))
    for augment in (everything, TypedPersian()):
        typed = augment(text, lots(seed))
        assert typed == augment(text, lots(seed))
        if text.strip(" \u200c"):
            assert typed.strip(" \u200c")
        assert len(typed) <= 2 * len(text) + 2


@given(st.sampled_from(CAPTIONS), st.integers(0, 10_000))
def test_captions_stay_mostly_persian_and_mostly_themselves(text: str, seed: int) -> None:
    def letters(one: str) -> Counter[str]:
        return Counter(char for char in normalize(one) if char.isalpha())

    clean, typed = letters(text), letters(TypedPersian()(text, lots(seed)))
    assert all("\u0600" <= char <= "\u06ff" for char in typed)
    assert sum((clean & typed).values()) >= 0.6 * sum(clean.values())


@given(st.text(alphabet="abcdefghij 0123'-.", max_size=40), st.integers(0, 100))
def test_english_stays(text: str, seed: int) -> None:
    assert TypedPersian(**dict.fromkeys(KEYS, 1.0))(text, lots(seed)) == text


def test_one_chance_does_not_move_what_another_key_does() -> None:
    text = CAPTIONS[2]
    for seed in range(50):
        slipped = only(slip=1.0)(text, lots(seed))
        assert only(slip=1.0, number_words=1e-12)(text, lots(seed)) == slipped


def test_chances_are_shares() -> None:
    changed = sum(only(madda=0.3)("آب", lots(seed)) == "اب" for seed in range(1000))
    assert 250 < changed < 350
    with pytest.raises(ConfigError, match=r"slip is 1\.5"):
        TypedPersian(slip=1.5)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("بچه‌ای در حیاط می دود", "بچه‌ای در حیاط میدوه"),
        ("سگ‌ها می‌دوند و نمی‌آیند", "سگا میدون و نمیان"),
        ("آن زن کتاب را می‌خواهد", "اون زن کتاب رو میخواد"),
        ("یک خانه در خیابانی خلوت", "یه خونه در خیابونی خلوت"),
        ("دو نفر ایستاده‌اند", "دو نفر وایسادن"),
        ("مردی ایستاده است", "مردی وایساده"),
        ("گربه نشسته است", "گربه نشسته"),
        ("لباسش سفید است", "لباسش سفیده"),
        ("چیزی در دست‌هایش دارد", "چیزی در دستاش داره"),
        ("درخت‌های بلند روی تپه", "درختای بلند رو تپه"),
        ("رود آرام است و سیاه", "رود آرامه و سیاه"),
        ("خانه‌ی سفید", "خونه‌ی سفید"),
        ("رای می‌دهند", "رای میدن"),
        ("آنتن و رادار و کنند", "آنتن و رادار و کنند"),
        ("کار ساده است", "کار ساده است"),
    ],
)
def test_spoken_forms(written: str, spoken: str) -> None:
    found = {colloquial(written, lots(seed).random).replace("می‌", "می") for seed in range(10)}
    assert found == {spoken}
    assert colloquial(written, lots(0).random, share=0.0) == written
