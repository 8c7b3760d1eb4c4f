"""The embedded model itself: what the package promises of it, on the openly licensed sample photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import peyda
from peyda.demo.samples import copy_samples
from peyda.encoders import model_info, verify_model


@pytest.fixture(scope="module")
def mini() -> Any:
    return peyda.load_encoder("mini")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image.Image]:
    folder = tmp_path_factory.mktemp("samples")
    copy_samples(str(folder))
    return {
        path.name: Image.open(path).convert("RGB")
        for path in sorted(folder.iterdir())
        if path.suffix in (".png", ".jpg")
    }


def test_it_keeps_within_its_budget_and_is_whole() -> None:
    info = model_info("mini")
    assert sum(path.stat().st_size for path in info.path.rglob("*") if path.is_file()) <= 45_000_000
    assert info.embed_dim <= 512
    assert info.card_path.is_file()
    assert verify_model(info.path) == []


@pytest.mark.parametrize(
    ("query", "file"),
    [
        ("گربه", "chelsea.png"),
        ("یک گربه", "chelsea.png"),
        ("a cat", "chelsea.png"),
        ("فنجان قهوه", "coffee.png"),
        ("موتورسیکلت", "motorcycle_left.png"),
        ("مردی در حال عکاسی", "camera.png"),
        ("ساختمان کنار دریاچه", "china.jpg"),
        ("گل", "flower.jpg"),
    ],
)
def test_it_finds_the_sample(mini: Any, samples: dict[str, Image.Image], query: str, file: str) -> None:
    names = list(samples)
    scores = mini.encode_images(list(samples.values())) @ mini.encode_texts([query])[0]
    assert names[int(scores.argmax())] == file


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("سگی که می‌دود", "سگی که می دود"),  # half-space and space
        ("کتاب های قدیمی", "كتاب هاي قديمي"),  # Arabic letters
        ("۳ گربه", "3 گربه"),
        ("گربه", "گُربه"),  # a vowel sign
        ("گربه", "گـــربه"),  # tatweel
        ("A Cat", "a cat"),
    ],
)
def test_spellings_that_the_normaliser_unites_are_one_query(mini: Any, one: str, other: str) -> None:
    first, second = mini.encode_texts([one]), mini.encode_texts([other])
    np.testing.assert_array_equal(first, second)


def test_rows_do_not_depend_on_their_batch(mini: Any, samples: dict[str, Image.Image]) -> None:
    texts = ["گربه", "سگی در برف می‌دود و کودکی با کلاه قرمز کنارش ایستاده است", "x" * 10_000, ""]
    together = mini.encode_texts(texts)
    for i, text in enumerate(texts):
        np.testing.assert_allclose(mini.encode_texts([text])[0], together[i], atol=1e-5)
    images = list(samples.values())[:6]
    together = mini.encode_images(images)
    for i, image in enumerate(images):
        np.testing.assert_allclose(mini.encode_images([image])[0], together[i], atol=1e-5)


def test_rows_are_unit_and_finite(mini: Any) -> None:
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(rng.integers(0, 256, (30, 50, 3), np.uint8)),
        Image.new("L", (1, 1)),
        Image.new("RGBA", (9, 2)),
    ]
    for rows in (mini.encode_images(images), mini.encode_texts(["", "گربه", "\ud800", "🐈" * 300])):
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_the_card_names_its_data_and_licence() -> None:
    card = Path(model_info("mini").card_path).read_text(encoding="utf-8")
    for word in ("license: apache-2.0", "multilingual-e5-small", "EfficientNet-Lite2", "native_fa.csv", "Flickr8k"):
        assert word in card
