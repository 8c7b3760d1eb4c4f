"""How well a score tells two kinds apart, whatever the threshold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


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
