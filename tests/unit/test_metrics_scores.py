"""`peyda.metrics.scores` and `.intervals`: values worked out by hand, refusals, and properties."""

from __future__ import annotations

import doctest
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import peyda.metrics.scores
from peyda.metrics import accuracy_at_k, bootstrap_ci, mean_rank, median_rank, mrr, ndcg_at_k

ranks_lists = st.lists(st.integers(1, 50), min_size=1, max_size=30)


def test_by_hand() -> None:
    ranks = [1, 2, 5, 10, 100]
    assert accuracy_at_k(ranks, 1) == 0.2
    assert accuracy_at_k(ranks, 5) == 0.6
    assert accuracy_at_k(ranks, 10) == 0.8
    assert accuracy_at_k(ranks, 1_000_000) == 1.0
    assert mrr(ranks) == pytest.approx((1 + 0.5 + 0.2 + 0.1 + 0.01) / 5)
    assert median_rank(ranks) == 5.0
    assert mean_rank(ranks) == 23.6


def test_ndcg_by_hand() -> None:
    assert ndcg_at_k([1, 1], 5) == 1.0
    assert ndcg_at_k([3], 5) == pytest.approx(1 / math.log2(4))
    assert ndcg_at_k([6], 5) == 0.0
    # Two relevant items at 2 and 4; the ideal has them at 1 and 2.
    expected = (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3))
    assert ndcg_at_k([[2, 4]], 10) == pytest.approx(expected)
    # With k = 1 the ideal has one item only, and a perfect ranking still scores 1.
    assert ndcg_at_k([[1, 2, 3]], 1) == 1.0
    assert ndcg_at_k([[2, 4], [1]], 10) == pytest.approx((expected + 1) / 2)


@given(ranks_lists, st.integers(1, 60))
def test_values_stay_in_bounds_and_agree(ranks: list[int], k: int) -> None:
    assert 0.0 <= accuracy_at_k(ranks, k) <= accuracy_at_k(ranks, k + 1) <= 1.0
    assert accuracy_at_k(ranks, 1) <= mrr(ranks) <= 1.0
    assert 0.0 <= ndcg_at_k(ranks, k) <= accuracy_at_k(ranks, k) + 1e-12
    assert accuracy_at_k(ranks, max(ranks)) == 1.0


@given(ranks_lists, st.integers(0, 29), st.integers(1, 60))
def test_a_better_rank_is_never_worse(ranks: list[int], at: int, k: int) -> None:
    better = list(ranks)
    better[at % len(ranks)] = max(1, better[at % len(ranks)] - 1)
    assert accuracy_at_k(better, k) >= accuracy_at_k(ranks, k)
    assert mrr(better) >= mrr(ranks) - 1e-12
    assert ndcg_at_k(better, k) >= ndcg_at_k(ranks, k) - 1e-12
    assert median_rank(better) <= median_rank(ranks)


@pytest.mark.parametrize("ranks", [[], [0], [-1], [1.5], [float("nan")], [[1]]])
def test_what_is_no_list_of_ranks_is_refused(ranks: list[object]) -> None:
    for metric in (mrr, median_rank, mean_rank, lambda r: accuracy_at_k(r, 1)):
        with pytest.raises(ValueError, match="ranks must be"):
            metric(ranks)  # type: ignore[arg-type]


def test_ndcg_and_k_refusals() -> None:
    with pytest.raises(ValueError, match="no queries"):
        ndcg_at_k([], 5)
    with pytest.raises(ValueError, match="ranks must be"):
        ndcg_at_k([[1], []], 5)
    with pytest.raises(ValueError, match="twice"):
        ndcg_at_k([[2, 2]], 5)
    for metric in (accuracy_at_k, ndcg_at_k):
        with pytest.raises(ValueError, match="at least 1"):
            metric([1], 0)


def test_interval_equals_all_resamples_of_a_tiny_case() -> None:
    # Three images with hits 1, 0, 0: the 27 equally likely draws have means 0, 1/3, 2/3, 1 with known shares.
    means = sorted(sum(draw) / 3 for draw in itertools.product([1, 0, 0], repeat=3))
    low, high = bootstrap_ci([[1.0], [0.0], [0.0]], [0, 1, 2], level=0.9, resamples=20_000)[0]
    assert low == pytest.approx(np.quantile(means, 0.05))
    assert high == pytest.approx(np.quantile(means, 0.95))


def test_images_are_drawn_whole() -> None:
    # Two images of which one has all hits: a draw has 0, half or all of them, and queries alone would never give 0.
    values, images = [[1.0]] * 50 + [[0.0]] * 50, [0] * 50 + [1] * 50
    assert bootstrap_ci(values, images)[0].tolist() == [0.0, 1.0]
    alone = bootstrap_ci(values, list(range(100)))[0]
    assert alone[0] > 0.35
    assert alone[1] < 0.65


def test_images_with_more_captions_weigh_more() -> None:
    # Image 0 has 9 hits, image 1 one miss; the mean over queries of a draw is 0, 0.9 or 1.
    interval = bootstrap_ci([[1.0]] * 9 + [[0.0]], [0] * 9 + [1], level=0.4)[0]
    assert interval.tolist() == pytest.approx([0.9, 0.9])


def test_interval_is_repeatable_for_any_block_size_and_names_of_images() -> None:
    rng = np.random.default_rng(3)
    values, images = rng.random((60, 2)), rng.integers(0, 20, 60)
    first = bootstrap_ci(values, images)
    assert np.array_equal(first, bootstrap_ci(values, images * 7 + 1000))
    assert (first[:, 0] < values.mean(axis=0)).all()
    assert (first[:, 1] > values.mean(axis=0)).all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("peyda.metrics.intervals._WEIGHTS_BYTES", 1_000)
        assert np.allclose(first, bootstrap_ci(values, images))


def test_one_image_has_an_interval_of_no_width() -> None:
    assert bootstrap_ci([[1.0], [0.0]], [5, 5])[0].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("values", "images", "level"),
    [([], [], 0.95), ([[1.0]], [0, 1], 0.95), ([1.0], [0], 0.95), ([[np.nan]], [0], 0.95), ([[1.0]], [0], 1.0)],
)
def test_unusable_interval_input_is_refused(values: object, images: object, level: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        bootstrap_ci(values, images, level=level)  # type: ignore[arg-type]


def test_examples_in_the_module_run() -> None:
    result = doctest.testmod(peyda.metrics.scores)
    assert result.attempted >= 6
    assert result.failed == 0
