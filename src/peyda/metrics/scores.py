"""From ranks to numbers. A rank is an integer ≥ 1, 1 the best; see `peyda.metrics.ranking` for the tie rule.

Every function refuses an empty list of ranks with ValueError: a mean over nothing is not a number.

Sources: Acc@k as the field's R@k for image–text retrieval (Karpathy and Fei-Fei, CVPR 2015); nDCG of Järvelin and
Kekäläinen (TOIS 2002) with binary gains.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


def accuracy_at_k(ranks: npt.ArrayLike, k: int) -> float:
    """The share of queries whose own item is among the `k` best. A `k` beyond the gallery counts the whole gallery.

    Raises:
        ValueError: `k` < 1, no ranks, or a rank that is not an integer ≥ 1.

    >>> accuracy_at_k([1, 3, 10, 11], k=10)
    0.75
    """
    _check_k(k)
    return float(np.mean(_checked(ranks) <= k))


def mrr(ranks: npt.ArrayLike) -> float:
    """The mean of 1 / rank.

    Raises:
        ValueError: No ranks, or a rank that is not an integer ≥ 1.

    >>> mrr([1, 2, 4, 4])
    0.5
    """
    return float(np.mean(1.0 / _checked(ranks)))


def median_rank(ranks: npt.ArrayLike) -> float:
    """The median rank; the mean of the middle two where their number is even.

    Raises:
        ValueError: No ranks, or a rank that is not an integer ≥ 1.

    >>> median_rank([1, 2, 9, 90])
    5.5
    """
    return float(np.median(_checked(ranks)))


def mean_rank(ranks: npt.ArrayLike) -> float:
    """The mean rank.

    Raises:
        ValueError: No ranks, or a rank that is not an integer ≥ 1.

    >>> mean_rank([1, 2, 9])
    4.0
    """
    return float(np.mean(_checked(ranks)))


def ndcg_at_k(relevant_ranks: Sequence[int] | Int64 | Sequence[Sequence[int]] | Sequence[Int64], k: int) -> float:
    """Normalised discounted cumulative gain over the `k` best, gains 0 or 1, averaged over queries.

    Args:
        relevant_ranks: For each query the ranks of all its relevant items (distinct); plain integers where each query
            has one.
        k: How many of the best to look at.

    Raises:
        ValueError: `k` < 1, no queries, a query without relevant items, a rank twice in one query, or a rank < 1.

    >>> round(ndcg_at_k([1, 2], k=10), 4)
    0.8155
    >>> round(ndcg_at_k([[1, 3]], k=10), 4)
    0.9197
    """
    return float(np.mean(ndcg_of_queries([np.asarray(ranks) for ranks in relevant_ranks], k)))


def ndcg_of_queries(relevant_ranks: Sequence[Int64], k: int) -> Float64:
    """What `ndcg_at_k` is the mean of: `Float64[q]`. Arguments and errors as there."""
    _check_k(k)
    per_query = [_checked(np.atleast_1d(np.asarray(ranks))) for ranks in relevant_ranks]
    if not per_query:
        raise ValueError("no queries")
    if any(len(np.unique(ranks)) != len(ranks) for ranks in per_query):
        raise ValueError("a query has the same rank twice")
    return np.asarray([_dcg(ranks, k) / _dcg(np.arange(1, len(ranks) + 1), k) for ranks in per_query])


def _dcg(ranks: Int64, k: int) -> float:
    return float(np.sum(1.0 / np.log2(1.0 + ranks[ranks <= k])))


def _check_k(k: int) -> None:
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")


def _checked(ranks: npt.ArrayLike) -> Int64:
    array = np.asarray(ranks)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"ranks must be a list of at least one; got shape {array.shape}")
    if not np.issubdtype(array.dtype, np.integer) or int(array.min()) < 1:
        raise ValueError("ranks must be integers of at least 1")
    return array.astype(np.int64)
