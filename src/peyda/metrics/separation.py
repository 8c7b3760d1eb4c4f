"""How well a score tells two kinds apart, whatever the threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from peyda.metrics.intervals import image_draws

Float64 = npt.NDArray[np.float64]


def area_under_curve(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative; ties count half.

    Source: Hanley and McNeil, Radiology 1982.

    Raises:
        ValueError: One of the two is empty, or a score is not finite.

    >>> area_under_curve([0.9, 0.8, 0.5], [0.5, 0.1])
    0.9166666666666666
    """
    high, low = np.asarray(positive, np.float64), np.sort(np.asarray(negative, np.float64))
    if not len(high) or not len(low) or not (np.isfinite(high).all() and np.isfinite(low).all()):
        raise ValueError("both kinds need scores, all of them finite")
    wins = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(wins.mean() / (2 * len(low)))


def area_draws(
    positive: npt.ArrayLike,
    negative: npt.ArrayLike,
    image_of_positive: npt.ArrayLike,
    image_of_negative: npt.ArrayLike,
    *,
    images: int,
    resamples: int = 1_000,
    seed: int = 0,
) -> Float64:
    """The area under the curve of each resample, drawing whole images with replacement.

    The same seed and number of images give the same draws, so that the areas of two scorers, or of two kinds of
    negatives, can be compared draw by draw.

    Args:
        positive: `Float[p]`.
        negative: `Float[n]`.
        image_of_positive: `Int[p]` in [0, images).
        image_of_negative: `Int[n]`, the same.
        images: How many there are.
        resamples: How many times to draw.
        seed: Of the draws.

    Returns:
        `Float64[resamples]`; NaN where a draw left nothing of one kind.

    Raises:
        ValueError: As `area_under_curve`, or images do not fit.
    """
    area_under_curve(positive, negative)  # refuses what cannot be used
    high, low = np.asarray(positive, np.float64), np.asarray(negative, np.float64)
    owner, other = np.asarray(image_of_positive), np.asarray(image_of_negative)
    if owner.shape != high.shape or other.shape != low.shape or max(owner.max(), other.max()) >= images:
        raise ValueError("every score needs an image in [0, images)")
    order = np.argsort(low, kind="stable")
    low, other = low[order], other[order]
    below, reached = np.searchsorted(low, high, "left"), np.searchsorted(low, high, "right")
    areas = []
    for weights in image_draws(images, resamples, seed, row_bytes=24 * (len(high) + len(low))):
        of_high = weights[:, owner]
        counted = np.pad(np.cumsum(weights[:, other], axis=1), ((0, 0), (1, 0)))  # (b, n + 1)
        wins = (of_high * (counted[:, below] + counted[:, reached])).sum(axis=1) / 2.0
        whole = of_high.sum(axis=1) * counted[:, -1]
        areas.append(np.divide(wins, whole, out=np.full(len(wins), np.nan), where=whole > 0))
    return np.concatenate(areas)


def roc_curve(positive: npt.ArrayLike, negatives: Sequence[npt.ArrayLike]) -> tuple[Float64, Float64]:
    """(shares of negatives, shares of positives) at or above each threshold, from (0, 0) to (1, 1).

    Args:
        positive: `Float[p]`.
        negatives: One or several kinds, which weigh the same whatever their numbers: the area below is the mean of
            their areas.

    Returns:
        Two `Float64[t]`, ascending, a point for each different score.

    Raises:
        ValueError: A kind is empty, or a score is not finite.

    >>> [part.tolist() for part in roc_curve([3, 1], [[2, 0]])]
    [[0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0]]
    """
    kinds = [np.sort(np.asarray(one, np.float64)) for one in (positive, *negatives)]
    if len(kinds) < 2 or not all(len(one) and np.isfinite(one).all() for one in kinds):
        raise ValueError("both kinds need scores, all of them finite")
    thresholds = np.append(np.unique(np.concatenate(kinds)), np.inf)[::-1]
    shares = [1.0 - np.searchsorted(one, thresholds, "left") / len(one) for one in kinds]
    return np.mean(shares[1:], axis=0), shares[0]
