"""Confidence intervals by the bootstrap, resampling images: the captions of one photograph are not independent.

Source: the percentile bootstrap over clusters (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

_WEIGHTS_BYTES = 32 * 2**20  # of one block of resampling weights


def bootstrap_ci(
    values: npt.ArrayLike,
    image_of_query: npt.ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> Float64:
    """Interval of the mean over queries of each column of `values`, drawing whole images with replacement.

    Args:
        values: `Float[q, m]`, for each query its value of each of m metrics (a hit as 0 or 1, a reciprocal rank).
        image_of_query: `Int[q]`, the image that each query belongs to.
        level: Share of the resampled means inside the interval.
        resamples: How many times to draw.
        seed: Of the draws: the same input gives the same interval.

    Returns:
        `Float64[m, 2]`, lower and upper end. One image gives an interval of no width.

    Raises:
        ValueError: Shapes do not fit, there are no queries, a value is not finite, or `level` is not in (0, 1).
    """
    matrix, groups = np.asarray(values, dtype=np.float64), np.asarray(image_of_query)
    if matrix.ndim != 2 or len(matrix) == 0 or groups.shape != (len(matrix),):
        raise ValueError(f"values must be [q, m] and image_of_query [q]; got {matrix.shape} and {groups.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("values must be finite")
    if not 0.0 < level < 1.0 or resamples < 1:
        raise ValueError(f"level must be in (0, 1) and resamples positive; got {level} and {resamples}")
    _, cluster = np.unique(groups, return_inverse=True)
    count = int(cluster.max()) + 1
    sums = np.zeros((count, matrix.shape[1] + 1))  # (images, m metrics + the number of queries)
    np.add.at(sums, cluster, np.column_stack([matrix, np.ones(len(matrix))]))
    rng = np.random.default_rng(seed)
    means = []
    block = max(1, _WEIGHTS_BYTES // (8 * count))
    for start in range(0, resamples, block):
        weights = rng.multinomial(count, np.full(count, 1.0 / count), size=min(block, resamples - start))
        totals = weights.astype(np.float64) @ sums
        means.append(totals[:, :-1] / totals[:, -1:])
    tail = (1.0 - level) / 2.0
    return np.quantile(np.concatenate(means), [tail, 1.0 - tail], axis=0).T
