"""Which rows a report shows: the best, some at random, those at the cut on either side, and some of every reason."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from peyda.quality.report.facts import Sample
from peyda.quality.rules import BELOW_TOP, LOW_SCORE, REASONS

SCORE_REASONS = frozenset({LOW_SCORE, BELOW_TOP})
"""Reasons that are the cut's; a row with another one was rejected whatever its score."""

NOT_KEPT = "not_kept"
"""Stands for the reason of a rejected row that gives none."""

_REASONS_SHOWN = 24
_CANDIDATES = 8  # rows looked at for each best sample, since the best ones are often one caption many times over


def pick_rows(
    reason_codes: Mapping[str, int],
    scores: npt.NDArray[np.float64],
    reasons: npt.NDArray[np.uint16],
    cut: float | None,
    samples: int,
    rng: np.random.Generator,
) -> dict[str, list[int]]:
    """Title → row numbers; more candidates than will be shown where equal ones are likely."""
    kept = np.flatnonzero(reasons == 0)
    picks: dict[str, list[int]] = {"Kept, at random": _some(kept, samples, rng)}
    scored = kept[~np.isnan(scores[kept])]
    if len(scored):
        best = scored[np.argsort(-scores[scored], kind="stable")[: samples * _CANDIDATES]]
        picks = {"Best scores": best.tolist(), **picks}
        picks["Lowest scores that are kept"] = scored[np.argsort(scores[scored], kind="stable")[:samples]].tolist()
    by_score = np.asarray([code for name, code in reason_codes.items() if name in SCORE_REASONS], np.uint16)
    below = np.flatnonzero(np.isin(reasons, by_score) & ~np.isnan(scores))
    if len(below) and cut is not None:
        picks["Just below the cut"] = below[np.argsort(-scores[below], kind="stable")[:samples]].tolist()
    for reason in _by_kind(reason_codes, reasons):
        rows = np.flatnonzero(reasons == reason_codes[reason])
        picks[f"Rejected: {reason}"] = _some(rows, max(1, samples // 2) if samples else 0, rng)
    return picks


def _by_kind(reason_codes: Mapping[str, int], reasons: npt.NDArray[np.uint16]) -> list[str]:
    """The most frequent reasons, in the order in which they are looked for, unknown ones last."""
    counts = np.bincount(reasons, minlength=len(reason_codes))
    frequent = sorted(filter(None, reason_codes), key=lambda one: -counts[reason_codes[one]])[:_REASONS_SHOWN]
    known = list(REASONS)
    return sorted(frequent, key=lambda one: known.index(one) if one in known else len(known))


def _some(rows: npt.NDArray[np.intp], count: int, rng: np.random.Generator) -> list[int]:
    return [int(row) for row in rng.choice(rows, min(count, len(rows)), replace=False)]


def build_samples(
    picks: Mapping[str, Sequence[int]], rows: Mapping[int, Mapping[str, str]], column: str | None, count: int
) -> dict[str, list[Sample]]:
    """The rows that were picked, as samples: at most `count` of each kind, no Persian caption twice in a kind."""
    groups: dict[str, list[Sample]] = {}
    for title, numbers in picks.items():
        chosen: list[Sample] = []
        seen: set[str] = set()
        for at in numbers:
            sample = _sample(rows[at], column)
            if len(chosen) < count and sample.caption_fa not in seen:
                seen.add(sample.caption_fa)
                chosen.append(sample)
        if chosen:
            groups[title] = chosen
    return groups


def _sample(row: Mapping[str, str], column: str | None) -> Sample:
    score = number(row.get(column, "")) if column else math.nan
    return Sample(
        image=row["image"],
        caption_en=row.get("caption_en", ""),
        caption_fa=row.get("caption_fa", ""),
        engine=row.get("engine", ""),
        score=None if math.isnan(score) else score,
        is_kept=is_kept(row),
        reason=row.get("reason", ""),
    )


def is_kept(row: Mapping[str, str]) -> bool:
    """Whether a row is kept; one without a verdict is."""
    return row.get("kept", "").strip().lower() not in ("false", "0", "no")


def number(text: str) -> float:
    """A score as it stands in a table; NaN where there is none."""
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
