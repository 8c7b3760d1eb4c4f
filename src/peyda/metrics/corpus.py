"""Intervals and paired tests for scores of whole corpora (BLEU, chrF): functions of sums, not means over captions.

Sources: the paired bootstrap (Koehn, EMNLP 2004) and approximate randomisation (Riezler and Maxwell, 2005); whole
images are drawn and exchanged, as the captions of one image are not independent.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from peyda.metrics.comparing import PairedDifference
from peyda.metrics.intervals import image_draws, sums_of_images

Float64 = npt.NDArray[np.float64]
CorpusScore = Callable[[Float64], Float64]
"""`Float64[b, s]` of summed counts → `Float64[b, m]`, m scores of each of b corpora."""

_BLOCK_BYTES = 32 * 2**20


def corpus_interval(
    counts: npt.ArrayLike,
    image_of_caption: npt.ArrayLike,
    score: CorpusScore,
    *,
    level: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> Float64:
    """Bootstrap interval of each score, drawing whole images with replacement.

    Args:
        counts: `Float[n, s]`, the counts of every caption.
        image_of_caption: `Int[n]`.
        score: What is computed from their sums.
        level: Share of the resampled scores inside the interval.
        resamples: How many times to draw.
        seed: Of the draws.

    Returns:
        `Float64[m, 2]`, lower and upper end.

    Raises:
        ValueError: Shapes do not fit, or there are no captions.
    """
    sums = _sums(counts, image_of_caption)
    drawn = np.concatenate([score(weights @ sums) for weights in image_draws(len(sums), resamples, seed)])
    return _interval(drawn, level)


def corpus_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    image_of_caption: npt.ArrayLike,
    score: CorpusScore,
    *,
    level: float = 0.95,
    resamples: int = 1_000,
    permutations: int = 10_000,
    seed: int = 0,
) -> PairedDifference:
    """Compare two systems on the same captions; the p value is of exchanging whole images between them at random.

    Args:
        first: `Float[n, s]`, the first system's counts of every caption.
        second: `Float[n, s]`, the second's, of the same captions in the same order.
        image_of_caption: `Int[n]`.
        score: What is computed from sums of counts.
        level: Share of the resampled differences inside the interval.
        resamples: Draws of the bootstrap.
        permutations: Draws of the test.
        seed: Of the draws.

    Raises:
        ValueError: Shapes do not fit, or there are no captions.
    """
    one, other = _sums(first, image_of_caption), _sums(second, image_of_caption)
    if one.shape != other.shape:
        raise ValueError(f"both systems need the same captions and counts; got {one.shape} and {other.shape}")
    drawn = [score(weights @ other) - score(weights @ one) for weights in image_draws(len(one), resamples, seed)]
    observed = _difference(one.sum(axis=0), other.sum(axis=0), score)
    return PairedDifference(
        observed,
        _interval(np.concatenate(drawn), level),
        _p_values(one, other, observed, score, permutations, seed),
    )


def _difference(first: Float64, second: Float64, score: CorpusScore) -> Float64:
    before, after = score(np.stack([first, second]))
    return np.asarray(after - before)


def _p_values(
    one: Float64, other: Float64, observed: Float64, score: CorpusScore, permutations: int, seed: int
) -> Float64:
    moved = other - one
    is_different = np.abs(moved).max(axis=1, initial=0.0) > 0  # exchanging what is the same changes nothing
    moved = moved[is_different]
    rng = np.random.default_rng(seed)
    reached = np.zeros(len(observed))
    block = max(1, _BLOCK_BYTES // (8 * max(1, len(moved))))
    for start in range(0, permutations, block):
        swaps = rng.integers(0, 2, size=(min(block, permutations - start), len(moved))).astype(np.float64)
        gained = swaps @ moved
        differences = score(other.sum(axis=0) - gained) - score(one.sum(axis=0) + gained)
        reached += np.count_nonzero(np.abs(differences) >= np.abs(observed) - 1e-9, axis=0)
    return (reached + 1.0) / (permutations + 1.0)


def _interval(drawn: Float64, level: float) -> Float64:
    tail = (1.0 - level) / 2.0
    return np.quantile(drawn, [tail, 1.0 - tail], axis=0).T


def _sums(counts: npt.ArrayLike, image_of_caption: npt.ArrayLike) -> Float64:
    matrix, groups = np.asarray(counts, np.float64), np.asarray(image_of_caption)
    if matrix.ndim != 2 or len(matrix) == 0 or groups.shape != (len(matrix),):
        raise ValueError(f"counts must be [n, s] and image_of_caption [n]; got {matrix.shape} and {groups.shape}")
    return sums_of_images(matrix, groups)
