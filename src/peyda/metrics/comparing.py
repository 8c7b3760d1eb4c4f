"""Is one system better than another on the same queries, or was it luck? A paired test that resamples images.

Sources: the paired bootstrap and the approximate randomisation (sign-flip permutation) test, as Koehn (EMNLP 2004) and
Smucker et al. (CIKM 2007) use them; whole images are drawn and flipped, as the captions of one image are not
independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from peyda.metrics.intervals import bootstrap_ci, sums_of_images

Float64 = npt.NDArray[np.float64]

_BLOCK_BYTES = 32 * 2**20  # of one block of signs


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How two systems differ on the same queries, for m metrics.

    Attributes:
        difference: `Float64[m]`, mean of the second less the first.
        interval: `Float64[m, 2]`, bootstrap interval of that.
        p_value: `Float64[m]`, two-sided: how often a difference at least as large appears when chance decides, image
            by image, which system gave which value. Never 0: with r draws at least 1 / (r + 1).
    """

    difference: Float64
    interval: Float64
    p_value: Float64


def paired_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    image_of_query: npt.ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = 1_000,
    permutations: int = 10_000,
    seed: int = 0,
) -> PairedDifference:
    """Compare two systems query by query.

    Args:
        first: `Float[q, m]`, for each query the first system's value of each of m metrics.
        second: `Float[q, m]`, the second system's, of the same queries in the same order.
        image_of_query: `Int[q]`, the image that each query belongs to.
        level: Share of the resampled differences inside the interval.
        resamples: Draws of the bootstrap.
        permutations: Draws of the permutation test.
        seed: Of the draws: the same input gives the same answer.

    Raises:
        ValueError: Shapes do not fit, there are no queries, or a value is not finite.

    >>> same = paired_difference([[1.0], [0.0]], [[1.0], [0.0]], [0, 1])
    >>> same.difference.tolist(), same.p_value.tolist()
    ([0.0], [1.0])
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape:
        raise ValueError(f"both systems need the same queries and metrics; got {one.shape} and {other.shape}")
    if permutations < 1:
        raise ValueError(f"permutations must be positive; got {permutations}")
    values = other - one
    interval = bootstrap_ci(values, image_of_query, level=level, resamples=resamples, seed=seed)
    return PairedDifference(
        values.mean(axis=0), interval, _p_values(values, np.asarray(image_of_query), permutations, seed)
    )


def _p_values(values: Float64, image_of_query: npt.NDArray[np.generic], permutations: int, seed: int) -> Float64:
    sums = sums_of_images(values, image_of_query)
    sums = sums[np.abs(sums).max(axis=1, initial=0.0) > 0]  # an image where both agree changes nothing
    observed = np.abs(sums.sum(axis=0))
    # Sums of the same terms in another order may differ in the last bits: those are equal, not smaller.
    slack = 1e-9 * np.abs(sums).sum(axis=0)
    rng = np.random.default_rng(seed)
    reached = np.zeros(values.shape[1])
    block = max(1, _BLOCK_BYTES // (8 * max(1, len(sums))))
    for start in range(0, permutations, block):
        signs = rng.integers(0, 2, size=(min(block, permutations - start), len(sums))) * 2.0 - 1.0
        reached += np.count_nonzero(np.abs(signs @ sums) >= observed - slack, axis=0)
    return (reached + 1.0) / (permutations + 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number by Holm's step-down method (Scandinavian Journal of Statistics 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for place, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[at]))
        corrected[at] = highest
    return corrected
