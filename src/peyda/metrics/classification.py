"""From predicted classes to numbers: the confusion matrix, and precision, recall and F1 of every class.

Classes are numbers from 0. Sources: the definitions of van Rijsbergen (Information Retrieval, 1979); macro averages are
means over the classes that occur, each with the same weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Scores of each class; 0 where a fraction has nothing below its line.

    Attributes:
        precision: `Float64[c]`, of what was called so, the share that is so.
        recall: `Float64[c]`, of what is so, the share that was called so.
        f1: `Float64[c]`, the harmonic mean of both.
        support: `Int64[c]`, how many items are so.
        predicted: `Int64[c]`, how many were called so.
    """

    precision: Float64
    recall: Float64
    f1: Float64
    support: Int64
    predicted: Int64

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that have items; 0 where none has."""
        return _mean_of(self.f1, self.support)

    @property
    def macro_recall(self) -> float:
        """Mean recall (mean accuracy per class) of the classes that have items; 0 where none has."""
        return _mean_of(self.recall, self.support)


def confusion_matrix(labels: npt.ArrayLike, predictions: npt.ArrayLike, classes: int) -> Int64:
    """`Int64[c, c]`: row the true class, column the predicted one. No items give zeros.

    Raises:
        ValueError: Shapes do not fit, or a class is not in [0, classes).

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], 2).tolist()
    [[1, 1], [0, 1]]
    """
    true, predicted = _classes(labels, classes), _classes(predictions, classes)
    if true.shape != predicted.shape:
        raise ValueError(f"labels and predictions must be of one length; got {true.shape} and {predicted.shape}")
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (true, predicted), 1)
    return matrix


def class_scores(confusion: npt.ArrayLike) -> ClassScores:
    """Precision, recall and F1 of every class.

    Args:
        confusion: `Int[c, c]`, as `confusion_matrix` gives it.

    Raises:
        ValueError: Not a square matrix of counts.

    >>> scores = class_scores([[1, 1], [0, 2]])
    >>> scores.precision.round(3).tolist(), scores.recall.tolist()
    ([1.0, 0.667], [0.5, 1.0])
    """
    matrix = np.asarray(confusion)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.issubdtype(matrix.dtype, np.integer):
        raise ValueError(f"confusion must be a square matrix of counts; got {matrix.dtype} {matrix.shape}")
    if matrix.size and int(matrix.min()) < 0:
        raise ValueError("confusion must not hold negative counts")
    right = np.diagonal(matrix).astype(np.float64)
    support, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    return ClassScores(
        precision=_share(right, predicted),
        recall=_share(right, support),
        f1=_share(2.0 * right, support + predicted),
        support=support.astype(np.int64),
        predicted=predicted.astype(np.int64),
    )


def _classes(values: npt.ArrayLike, classes: int) -> Int64:
    array = np.asarray(values)
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"classes must be a list of integers; got {array.dtype} {array.shape}")
    if int(array.min()) < 0 or int(array.max()) >= classes:
        raise ValueError(f"classes must be in [0, {classes}); got {array.min()} to {array.max()}")
    return array.astype(np.int64)


def _share(part: Float64, whole: npt.NDArray[np.integer]) -> Float64:
    shares: Float64 = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return shares


def _mean_of(values: Float64, support: Int64) -> float:
    present = values[support > 0]
    return float(present.mean()) if len(present) else 0.0
