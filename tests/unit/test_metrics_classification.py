"""`peyda.metrics.classification`: worked out by hand, against counting, and what it refuses."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import peyda.metrics.classification
from peyda.metrics import class_scores, confusion_matrix

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=40)


def test_by_hand() -> None:
    # Class 0: 3 items, 2 found. Class 1: 1 item, found, and one item of class 0 is called so. Class 2 does not occur.
    scores = class_scores(confusion_matrix([0, 0, 0, 1], [0, 0, 1, 1], 3))
    assert scores.precision.tolist() == [1.0, 0.5, 0.0]
    assert scores.recall.tolist() == pytest.approx([2 / 3, 1.0, 0.0])
    assert scores.f1.tolist() == pytest.approx([0.8, 2 / 3, 0.0])
    assert scores.support.tolist() == [3, 1, 0]
    assert scores.predicted.tolist() == [2, 2, 0]
    assert scores.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)
    assert scores.macro_recall == pytest.approx((2 / 3 + 1) / 2)


@given(pairs)
def test_equals_counting(items: list[tuple[int, int]]) -> None:
    labels, predictions = [one for one, _ in items], [other for _, other in items]
    matrix = confusion_matrix(labels, predictions, 5)
    scores = class_scores(matrix)
    assert matrix.sum() == len(items)
    for name in range(5):
        right = sum(one == other == name for one, other in items)
        called, so = predictions.count(name), labels.count(name)
        assert matrix[name, name] == right
        assert scores.precision[name] == (right / called if called else 0.0)
        assert scores.recall[name] == (right / so if so else 0.0)
        both = scores.precision[name] + scores.recall[name]
        assert scores.f1[name] == pytest.approx(
            2 * scores.precision[name] * scores.recall[name] / both if both else 0.0
        )


def test_nothing_to_count() -> None:
    assert confusion_matrix([], [], 2).tolist() == [[0, 0], [0, 0]]
    assert class_scores(np.zeros((2, 2), dtype=int)).macro_f1 == 0.0


@pytest.mark.parametrize(
    ("labels", "predictions"), [([0, 1], [0]), ([2], [0]), ([0], [-1]), ([0.5], [0]), ([[0]], [[0]])]
)
def test_unusable_classes_are_refused(labels: object, predictions: object) -> None:
    with pytest.raises(ValueError, match=r"classes must|of one length"):
        confusion_matrix(labels, predictions, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("matrix", [[[1, 2]], [[1.5]], [[-1]], [1]])
def test_what_is_no_confusion_matrix_is_refused(matrix: object) -> None:
    with pytest.raises(ValueError, match="confusion must"):
        class_scores(matrix)  # type: ignore[arg-type]


def test_examples_in_the_module_run() -> None:
    result = doctest.testmod(peyda.metrics.classification)
    assert result.attempted >= 3
    assert result.failed == 0
