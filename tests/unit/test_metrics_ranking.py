"""`peyda.metrics.ranking` against hand-computed ranks and a naive exact oracle."""

from __future__ import annotations

import doctest
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import peyda.metrics.ranking
from peyda.metrics import image_to_text_ranks, retrieval_ranks, text_to_image_ranks


def naive_ranks(texts: list[list[int]], images: list[list[int]], own: list[int]) -> tuple[list[int], list[int]]:
    """Both directions by definition, in exact integer arithmetic, one comparison at a time."""

    def score(text: list[int], image: list[int]) -> int:
        return sum(a * b for a, b in zip(text, image, strict=True))

    text_ranks = []
    for text, mine in zip(texts, own, strict=True):
        rank = 1
        for other, image in enumerate(images):
            if other != mine and score(text, image) >= score(text, images[mine]):
                rank += 1
        text_ranks.append(rank)
    image_ranks = []
    for row, image in enumerate(images):
        mine_scores = [score(text, image) for text, mine in zip(texts, own, strict=True) if mine == row]
        if mine_scores:
            others = [score(text, image) for text, mine in zip(texts, own, strict=True) if mine != row]
            image_ranks.append(1 + sum(other >= max(mine_scores) for other in others))
    return text_ranks, image_ranks


def naive_own_text_ranks(texts: list[list[int]], images: list[list[int]], own: list[int]) -> list[int]:
    """For each text its place among all texts of its image's query: strangers that score as high first."""
    ranks = []
    for at, mine in enumerate(own):
        scores = [sum(a * b for a, b in zip(text, images[mine], strict=True)) for text in texts]
        strangers = sum(other != mine and scores[row] >= scores[at] for row, other in enumerate(own))
        siblings = [(-scores[row], row) for row, other in enumerate(own) if other == mine]
        ranks.append(1 + strangers + sorted(siblings).index((-scores[at], at)))
    return ranks


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]], list[int]]:
    """Small integer embeddings: exact in floats, and full of ties."""
    dim = draw(st.integers(1, 4))
    vectors = st.lists(st.integers(-2, 2), min_size=dim, max_size=dim)
    images = draw(st.lists(vectors, min_size=1, max_size=8))
    own = draw(st.lists(st.integers(0, len(images) - 1), min_size=1, max_size=12))
    texts = draw(st.lists(vectors, min_size=len(own), max_size=len(own)))
    return texts, images, own


@given(problems(), st.sampled_from([8, 100, 2**26]))
def test_equals_the_naive_oracle_in_any_block_size(
    problem: tuple[list[list[int]], list[list[int]], list[int]], block_bytes: int
) -> None:
    texts, images, own = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peyda.metrics.ranking, "_BLOCK_BYTES", block_bytes)
        ranks = retrieval_ranks(texts, images, own)
    text_ranks, image_ranks = naive_ranks(texts, images, own)
    assert ranks.text_to_image.tolist() == text_ranks
    assert ranks.image_to_text.tolist() == image_ranks
    assert ranks.queried_images.tolist() == sorted(set(own))


@given(problems())
def test_ranks_of_all_own_texts_equal_the_oracle(problem: tuple[list[list[int]], list[list[int]], list[int]]) -> None:
    texts, images, own = problem
    ranks = retrieval_ranks(texts, images, own)
    for image, best in zip(ranks.queried_images.tolist(), ranks.image_to_text.tolist(), strict=True):
        mine = [rank for rank, mine in zip(ranks.own_texts.tolist(), own, strict=True) if mine == image]
        assert min(mine) == best
        assert len(set(mine)) == len(mine)
        expected = [
            rank
            for rank, mine in zip(naive_own_text_ranks(texts, images, own), own, strict=True)
            if mine == image
        ]  # fmt: skip
        assert sorted(mine) == sorted(expected)


@given(problems())
def test_ties_for_the_query_equal_the_oracle(problem: tuple[list[list[int]], list[list[int]], list[int]]) -> None:
    texts, images, own = problem
    scores = np.asarray(texts) @ np.asarray(images).T
    expected = [1 + int(np.count_nonzero(row > row[mine])) for row, mine in zip(scores, own, strict=True)]
    assert retrieval_ranks(texts, images, own, ties="for").text_to_image.tolist() == expected


def test_a_collapsed_encoder_is_first_everywhere_when_ties_count_for_it() -> None:
    point = np.random.default_rng(5).normal(size=64).astype(np.float32)
    ranks = retrieval_ranks(np.tile(point, (30, 1)), np.tile(point, (30, 1)), np.arange(30), ties="for")
    assert set(ranks.text_to_image.tolist()) == set(ranks.image_to_text.tolist()) == {1}
    zero = np.zeros((3, 4))
    assert retrieval_ranks(zero, zero, [0, 1, 2], ties="for").text_to_image.tolist() == [1, 1, 1]
    assert retrieval_ranks(zero, zero, [0, 1, 2]).text_to_image.tolist() == [3, 3, 3]


@given(problems(), st.randoms(use_true_random=False))
def test_order_of_images_and_texts_does_not_matter(
    problem: tuple[list[list[int]], list[list[int]], list[int]], random: object
) -> None:
    texts, images, own = (np.asarray(part) for part in problem)
    rng = np.random.default_rng(random.randrange(2**32))  # type: ignore[attr-defined]
    image_order, text_order = rng.permutation(len(images)), rng.permutation(len(texts))
    new_row = np.argsort(image_order)
    plain = retrieval_ranks(texts, images, own)
    shuffled = retrieval_ranks(texts[text_order], images[image_order], new_row[own[text_order]])
    assert shuffled.text_to_image.tolist() == plain.text_to_image[text_order].tolist()
    by_image = dict(zip(plain.queried_images.tolist(), plain.image_to_text.tolist(), strict=True))
    assert shuffled.image_to_text.tolist() == [by_image[image_order[row]] for row in shuffled.queried_images]


def test_several_captions_of_an_image_by_hand() -> None:
    # Image 0 is (1, 0), image 1 is (0, 1). Captions of image 0: one right, one that looks like image 1.
    texts, images, own = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], [[1, 0], [0, 1]], [0, 0, 1]
    ranks = retrieval_ranks(texts, images, own)
    assert ranks.text_to_image.tolist() == [1, 2, 1]
    # Image 0: its best caption scores .9, the stranger .3. Image 1: its caption scores .7, a stranger .8.
    assert ranks.image_to_text.tolist() == [1, 2]


def test_ties_count_against_the_query() -> None:
    assert text_to_image_ranks([[1, 0]], [[1, 0], [1, 0], [0, 1]], [0]).tolist() == [2]
    assert image_to_text_ranks([[1, 0], [1, 0]], [[1, 0], [0, 1]], [0, 1]).tolist() == [2, 2]


@pytest.mark.parametrize("dim", [3, 64, 513])
@pytest.mark.parametrize("images", [2, 17, 130])
def test_a_collapsed_encoder_is_last_everywhere(dim: int, images: int) -> None:
    # Not a round number in float32, so that a product in float32 would show differences between equal rows.
    point = np.random.default_rng(dim).normal(size=dim).astype(np.float32)
    point /= np.linalg.norm(point)
    own = np.repeat(np.arange(images), 2)
    ranks = retrieval_ranks(np.tile(point, (len(own), 1)), np.tile(point, (images, 1)), own)
    assert set(ranks.text_to_image.tolist()) == {images}
    assert set(ranks.image_to_text.tolist()) == {len(own) - 1}  # all texts but its own second one


def test_the_smallest_float32_difference_is_no_tie() -> None:
    up = np.nextafter(np.float32(0.5), np.float32(1.0))
    images = np.asarray([[0.5, 0.0], [up, 0.0]], dtype=np.float32)
    assert text_to_image_ranks([[1.0, 0.0]], images, [1]).tolist() == [1]
    assert text_to_image_ranks([[1.0, 0.0]], images, [0]).tolist() == [2]


def test_float32_embeddings_equal_exact_rational_ranks() -> None:
    rng = np.random.default_rng(7)
    images, texts = rng.normal(size=(12, 5)).astype(np.float32), rng.normal(size=(20, 5)).astype(np.float32)
    own = rng.integers(0, 12, size=20)

    def score(text: npt.NDArray[np.float32], image: npt.NDArray[np.float32]) -> Fraction:
        return sum((Fraction(float(a)) * Fraction(float(b)) for a, b in zip(text, image, strict=True)), Fraction(0))

    expected = [
        sum(score(text, image) >= score(text, images[mine]) for image in images)
        for text, mine in zip(texts, own, strict=True)
    ]
    assert text_to_image_ranks(texts, images, own).tolist() == expected


def test_no_texts_give_empty_ranks() -> None:
    ranks = retrieval_ranks(np.zeros((0, 2)), [[1, 0]], np.zeros(0, dtype=np.int64))
    assert ranks.text_to_image.tolist() == []
    assert ranks.image_to_text.tolist() == []
    assert ranks.queried_images.tolist() == []


@pytest.mark.parametrize(
    ("texts", "images", "own", "word"),
    [
        ([[np.nan, 0]], [[1, 0]], [0], "finite"),
        ([[1, 0]], [[np.inf, 0]], [0], "finite"),
        ([[1, 0]], [[1, 0, 0]], [0], "embeddings"),
        ([1, 0], [[1, 0]], [0], "embeddings"),
        ([[1, 0]], [[1, 0]], [0, 0], "image_of_text"),
        ([[1, 0]], [[1, 0]], [1], r"\[0, 1\)"),
        ([[1, 0]], [[1, 0]], [-1], r"\[0, 1\)"),
        ([[1, 0]], [[1, 0]], [0.0], "integers"),
    ],
)
def test_unusable_input_is_refused(texts: object, images: object, own: object, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        retrieval_ranks(texts, images, own)  # type: ignore[arg-type]


def test_examples_in_the_module_run() -> None:
    result = doctest.testmod(peyda.metrics.ranking)
    assert result.attempted >= 2
    assert result.failed == 0
