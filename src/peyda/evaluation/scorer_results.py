"""What bilingual scorers gave, with intervals and paired tests from resampled images.

Right captions found are compared as in retrieval (`peyda.metrics.paired_difference`). Areas under the curve have no
values to exchange between scorers, whose scores mean different things; there the p value is the paired bootstrap's
(Koehn, EMNLP 2004): twice the share of draws on the other side of zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from peyda.metrics import holm, paired_difference
from peyda.metrics.separation import area_draws, area_under_curve
from peyda.types import Int64

Float64 = npt.NDArray[np.float64]

RESAMPLES = 2_000
_DECIMALS = 4


@dataclass(frozen=True, slots=True)
class ScoredDamage:
    """One damage: `rows` `Int64[k]` of the pairs it applies to, `scores` `Float64[k]` of the damaged ones."""

    rows: Int64
    scores: Float64


@dataclass(frozen=True, slots=True)
class ScorerResult:
    """What one scorer gave.

    Attributes:
        name: Of the scorer; different for every scorer of a run.
        true: `Float64[n]`, scores of the true pairs.
        ranks: Direction → `Int64[n]`, ranks of the right captions.
        damages: Damage → scores of the damaged pairs; only damages that apply to some pair.
    """

    name: str
    true: Float64
    ranks: Mapping[str, Int64]
    damages: Mapping[str, ScoredDamage]

    @property
    def area(self) -> float:
        """Area under the curve over equal shares of each damage."""
        return float(np.mean([area_under_curve(self.true, one.scores) for one in self.damages.values()]))


def areas_of(result: ScorerResult, images: Int64, seed: int) -> dict[str, Float64]:
    """Damage → `Float64[RESAMPLES]`, the area of each resample; draws are the same for every scorer and damage.

    Args:
        result: The scores.
        images: `Int64[n]`, the image of each pair, from 0.
        seed: Of the draws.
    """
    count = int(images.max()) + 1
    return {
        name: area_draws(
            result.true, one.scores, images, images[one.rows], images=count, resamples=RESAMPLES, seed=seed
        )
        for name, one in result.damages.items()
    }


def interval_of(draws: Float64) -> list[float]:
    """The 95 % interval of resampled areas; draws without a pair of one kind do not count.

    Where no draw counts nothing is known: from 0 to 1.
    """
    known = draws[np.isfinite(draws)]
    if not len(known):
        return [0.0, 1.0]
    ends: list[float] = np.round(np.quantile(known, [0.025, 0.975]), _DECIMALS).tolist()
    return ends


def compare_scorers(
    results: Sequence[ScorerResult], areas: Sequence[Mapping[str, Float64]], images: Int64
) -> list[dict[str, Any]]:
    """Paired tests of every two scorers; `p_holm` is corrected for the number of pairs compared.

    Args:
        results: The scores, all of the same pairs and damages.
        areas: `areas_of` each of them.
        images: `Int64[n]`, the image of each pair.
    """
    pairs = list(combinations(range(len(results)), 2))
    lines: list[dict[str, Any]] = []
    for name, found in _tests(results, areas, images, pairs).items():
        corrected = holm([one["p"] for one in found])
        for (a, b), one, p_holm in zip(pairs, found, corrected, strict=True):
            shared = {"metric": name, "first": results[a].name, "second": results[b].name, "pairs": len(images)}
            lines.append({**shared, **one, "p_holm": round(p_holm, 6)})
    return lines


def _tests(
    results: Sequence[ScorerResult], areas: Sequence[Mapping[str, Float64]], images: Int64, pairs: list[tuple[int, int]]
) -> dict[str, list[dict[str, Any]]]:
    tests: dict[str, list[dict[str, Any]]] = {}
    for a, b in pairs:
        for way in results[a].ranks:
            one, other = ((ranks <= 1)[:, None] for ranks in (results[a].ranks[way], results[b].ranks[way]))
            found = paired_difference(one, other, images)
            tests.setdefault(f"{way}_accuracy_at_1", []).append(
                _line(float(found.difference[0]), found.interval[0].tolist(), float(found.p_value[0]))
            )
        drawn = [np.mean([one[name] for name in results[a].damages], axis=0) for one in (areas[a], areas[b])]
        difference = drawn[1] - drawn[0]
        tests.setdefault("area_under_curve", []).append(
            _line(results[b].area - results[a].area, interval_of(difference), _p_value(difference))
        )
    return tests


def _line(difference: float, interval: Sequence[float], p: float) -> dict[str, Any]:
    return {
        "difference": round(difference, _DECIMALS),
        "ci95": [round(end, _DECIMALS) for end in interval],
        "p": round(p, 6),
    }


def _p_value(differences: Float64) -> float:
    known = differences[np.isfinite(differences)]
    other_side = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return min(1.0, 2.0 * (other_side + 1) / (len(known) + 1))
