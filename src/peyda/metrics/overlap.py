"""BLEU and chrF from counts that add up: what a corpus score is made of, so that corpora can be resampled.

Both are functions of sums over captions. With the sums of every image at hand, the score of a resampled corpus costs
one matrix product; nothing is counted again. Scores equal sacreBLEU's with its defaults (exponential smoothing; chrF2
over characters without white space).

Sources: BLEU (Papineni et al., ACL 2002; smoothing as in mteval-v13a), chrF (Popović, WMT 2015), sacreBLEU (Post 2018).
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

BLEU_ORDERS = 4
CHRF_ORDERS = 6
BLEU_COUNTS = 2 + 2 * BLEU_ORDERS
"""Lengths of translation and reference, then matches of each order, then n-grams of each order."""
CHRF_COUNTS = 3 * CHRF_ORDERS
"""For each order the n-grams of the translation, of the reference, and the matches."""
_BETA2 = 4.0


def chrf_counts(translation: str, reference: str) -> list[int]:
    """The counts of one pair, `CHRF_COUNTS` of them.

    >>> chrf_counts("آب", "آ ب")[:6]
    [2, 2, 2, 1, 1, 1]
    """
    said, wanted = "".join(translation.split()), "".join(reference.split())
    counts: list[int] = []
    for order in range(1, CHRF_ORDERS + 1):
        mine = Counter(said[at : at + order] for at in range(len(said) - order + 1))
        theirs = Counter(wanted[at : at + order] for at in range(len(wanted) - order + 1))
        total = sum(theirs.values())
        # An order that the reference is too short for tells nothing: sacreBLEU leaves it out on both sides.
        counts += [sum(mine.values()) if total else 0, total, sum((mine & theirs).values())]
    return counts


def chrf(counts: npt.ArrayLike) -> Float64:
    """ChrF, 0 to 100, of summed counts.

    Args:
        counts: `Float[..., CHRF_COUNTS]`.

    Returns:
        `Float64[...]`; 0 where nothing matches.
    """
    per_order = np.asarray(counts, np.float64).reshape(*np.shape(counts)[:-1], CHRF_ORDERS, 3)
    said, wanted, matches = per_order[..., 0], per_order[..., 1], per_order[..., 2]
    is_counted = (said > 0) & (wanted > 0)
    orders = np.maximum(is_counted.sum(axis=-1), 1)
    precision = _fraction(matches, said, is_counted).sum(axis=-1) / orders
    recall = _fraction(matches, wanted, is_counted).sum(axis=-1) / orders
    below = _BETA2 * precision + recall
    return 100.0 * (1.0 + _BETA2) * _fraction(precision * recall, below, below > 0)


def bleu(counts: npt.ArrayLike) -> Float64:
    """BLEU, 0 to 100, of summed counts.

    Args:
        counts: `Float[..., BLEU_COUNTS]`.

    Returns:
        `Float64[...]`; 0 where no word matches, or no translation has four words.
    """
    array = np.asarray(counts, np.float64)
    said, wanted = array[..., 0], array[..., 1]
    matches, total = array[..., 2 : 2 + BLEU_ORDERS], array[..., 2 + BLEU_ORDERS :]
    # An order without a match counts as half a match, the next one as a quarter.
    is_missed = matches == 0
    smoothed = np.where(is_missed, 0.5 ** np.cumsum(is_missed, axis=-1), matches)
    is_defined = (total > 0).all(axis=-1) & (matches > 0).any(axis=-1)
    precision = _fraction(smoothed, total, total > 0)
    mean = np.exp(np.log(np.where(precision > 0, precision, 1.0)).mean(axis=-1))
    brevity = np.where(said < wanted, np.exp(1.0 - _fraction(wanted, said, said > 0)), 1.0)
    return np.where(is_defined, 100.0 * brevity * mean, 0.0)


def _fraction(part: Float64, whole: Float64, where: npt.NDArray[np.bool_]) -> Float64:
    fractions: Float64 = np.divide(part, whole, out=np.zeros(np.shape(whole)), where=where)
    return fractions
