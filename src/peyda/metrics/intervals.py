"""Confidence intervals by the bootstrap, resampling images: the captions of one photograph are not independent.

Source: the percentile bootstrap over clusters (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13).
"""

from __future__ import annotations

from collections.abc import Iterator

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
    sums = sums_of_images(np.column_stack([matrix, np.ones(len(matrix))]), groups)  # (images, m + number of queries)
    means = []
    for weights in image_draws(len(sums), resamples, seed):
        totals = weights @ sums
        means.append(totals[:, :-1] / totals[:, -1:])
    tail = (1.0 - level) / 2.0
    return np.quantile(np.concatenate(means), [tail, 1.0 - tail], axis=0).T


def sums_of_images(values: Float64, image_of_query: npt.NDArray[np.generic]) -> Float64:
    """`Float64[images, m]`: for each image, in the order of `np.unique`, the sum of its queries' rows of `values`."""
    _, cluster = np.unique(image_of_query, return_inverse=True)
    sums = np.zeros((int(cluster.max()) + 1, values.shape[1]))
    np.add.at(sums, cluster, values)
    return sums


def image_draws(images: int, resamples: int, seed: int, *, row_bytes: int = 0) -> Iterator[Float64]:
    """How often each image is drawn in each resample, in blocks `Float64[b, images]`, `resamples` rows in all.

    Args:
        images: How many there are; as many are drawn, with replacement.
        resamples: How many times.
        seed: The same seed gives the same draws, whatever the size of the blocks.
        row_bytes: Memory that the caller needs for one resample besides, so that a block stays small.
    """
    rng = np.random.default_rng(seed)
    block = max(1, _WEIGHTS_BYTES // (8 * images + row_bytes))
    for start in range(0, resamples, block):
        drawn = rng.multinomial(images, np.full(images, 1.0 / images), size=min(block, resamples - start))
        yield drawn.astype(np.float64)
