"""Which pairs an epoch sees and in which batches, for models of text alone. Randomness comes from the caller alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peyda.training.pairs import Pair
from peyda.training.text_recipe import PairWeights
from peyda.types import Int64

_POOL = 16


def draw(pairs: Sequence[Pair], weights: PairWeights, rng: np.random.Generator) -> Int64:
    """Rows of one epoch, shuffled: each as often as its kind's weight says, the fraction by chance."""
    wanted = np.asarray([getattr(weights, pair.kind) for pair in pairs])
    times = np.floor(wanted + rng.random(len(pairs))).astype(np.int64)
    return rng.permutation(np.repeat(np.arange(len(pairs)), times))


def batches_of(rows: Int64, lengths: Int64, size: int, rng: np.random.Generator) -> list[Int64]:
    """Batches of `size` rows of like lengths; a rest that fills none is left out.

    Args:
        rows: Rows in random order.
        lengths: Of every row, in pieces.
        size: Rows in a batch.
        rng: Source of randomness.
    """
    batches: list[Int64] = []
    for start in range(0, len(rows), size * _POOL):
        pool = rows[start : start + size * _POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[at : at + size] for at in range(0, len(pool) - size + 1, size)]
    return [batches[at] for at in rng.permutation(len(batches))]


def token_batches(rows: Int64, lengths: Int64, tokens: int, rng: np.random.Generator) -> list[Int64]:
    """Batches of like lengths whose rows times longest length stay within `tokens`."""
    jitter = lengths[rows] + rng.random(len(rows))
    ordered = rows[np.argsort(jitter, kind="stable")]
    batches: list[Int64] = []
    start = 0
    for at in range(len(ordered)):
        if (at + 1 - start) * lengths[ordered[at]] > tokens and at > start:
            batches.append(ordered[start:at])
            start = at
    if start < len(ordered):
        batches.append(ordered[start:])
    return [batches[at] for at in rng.permutation(len(batches))]
