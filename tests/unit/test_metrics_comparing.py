"""`peyda.metrics.comparing` against every permutation of a small case, and by its properties."""

from __future__ import annotations

import doctest
import itertools

import numpy as np
import pytest

import peyda.metrics.comparing
from peyda.metrics import bootstrap_ci, paired_difference


def test_p_value_equals_all_sign_flips_of_a_tiny_case() -> None:
    # Six images whose differences are known: of the 64 ways to flip them, count those at least as far from 0.
    differences = np.asarray([1.0, 1.0, -1.0, 1.0, 0.5, 0.25])
    observed = abs(differences.sum())
    flips = [abs(np.dot(signs, differences)) >= observed for signs in itertools.product([1, -1], repeat=6)]
    found = paired_difference(np.zeros((6, 1)), differences[:, None], np.arange(6), permutations=20_000)
    assert found.difference.tolist() == [pytest.approx(differences.mean())]
    assert found.p_value[0] == pytest.approx(np.mean(flips), abs=0.015)


def test_systems_that_agree_do_not_differ() -> None:
    values = np.random.default_rng(0).random((40, 2))
    same = paired_difference(values, values, np.arange(40))
    assert same.difference.tolist() == [0.0, 0.0]
    assert same.interval.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert same.p_value.tolist() == [1.0, 1.0]


def test_a_clear_difference_is_significant_and_turns_with_the_order() -> None:
    rng = np.random.default_rng(1)
    first = rng.random((200, 1))
    second = first + 0.1 + rng.normal(0, 0.05, (200, 1))
    images = np.arange(200)
    better, worse = paired_difference(first, second, images), paired_difference(second, first, images)
    assert better.p_value[0] == worse.p_value[0] <= 0.001
    assert better.difference[0] == pytest.approx(-worse.difference[0])
    assert better.interval[0, 0] > 0.05
    assert worse.interval[0, 1] < -0.05


def test_captions_of_one_image_are_no_independent_evidence() -> None:
    # 50 captions of one image and 50 of another: two images can prove nothing, a hundred could.
    first, second = np.zeros((100, 1)), np.ones((100, 1))
    together = paired_difference(first, second, [0] * 50 + [1] * 50)
    apart = paired_difference(first, second, np.arange(100))
    assert together.p_value[0] == pytest.approx(0.5, abs=0.02)  # two of four sign patterns are as extreme
    assert apart.p_value[0] < 0.001


def test_interval_is_that_of_the_differences_and_block_size_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    first, second, images = rng.random((60, 3)), rng.random((60, 3)), rng.integers(0, 25, 60)
    found = paired_difference(first, second, images, permutations=2_000)
    assert np.array_equal(found.interval, bootstrap_ci(second - first, images))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("peyda.metrics.comparing._BLOCK_BYTES", 400)
        again = paired_difference(first, second, images * 3 + 7, permutations=2_000)
    assert np.allclose(found.p_value, again.p_value, atol=0.05)


@pytest.mark.parametrize(
    ("first", "second", "images"),
    [([[1.0]], [[1.0], [2.0]], [0]), ([[np.nan]], [[1.0]], [0]), ([], [], []), ([[1.0]], [[1.0]], [0, 1])],
)
def test_unusable_input_is_refused(first: object, second: object, images: object) -> None:
    with pytest.raises(ValueError, match=r"must be|need the same"):
        paired_difference(first, second, images)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="permutations"):
        paired_difference([[1.0]], [[1.0]], [0], permutations=0)


def test_examples_in_the_module_run() -> None:
    result = doctest.testmod(peyda.metrics.comparing)
    assert result.attempted >= 2
    assert result.failed == 0
