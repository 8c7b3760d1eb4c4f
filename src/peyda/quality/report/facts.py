"""What a report shows, as records: counts, histograms, and rows to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from peyda.captions import SkippedRow


@dataclass(frozen=True, slots=True)
class Sample:
    """One row to look at; `score` is of the chosen column."""

    image: str
    caption_en: str
    caption_fa: str
    engine: str = ""
    score: float | None = None
    is_kept: bool = True
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """One engine's rows. `kept_counts` and `other_counts` are its histogram, over `ReportFacts.edges`."""

    name: str
    rows: int
    kept: int
    mean: float
    median: float
    kept_counts: npt.NDArray[np.int64]
    other_counts: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ScoreFacts:
    """One score column: how many rows have it, and how it is spread (mean, 5th, 50th and 95th percentile)."""

    column: str
    rows: int
    mean: float
    p5: float
    median: float
    p95: float


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """All that a report shows.

    Attributes:
        sources: The tables.
        rows: Their rows.
        kept: Rows that are kept; all, where no filter was there yet.
        is_judged: Whether a filter was there.
        column: The score of the histogram; None where the tables have none.
        edges: `Float64[bins + 1]` of the histogram.
        cut: The lowest score that passes, where the score decides.
        reasons: Reason → rows, the most frequent first.
        engines: Most rows first.
        scores: All score columns.
        samples: Title → rows, in the order to show.
        skipped: Lines of the files that are no rows.
    """

    sources: tuple[str, ...]
    rows: int
    kept: int
    is_judged: bool
    column: str | None
    edges: npt.NDArray[np.float64]
    cut: float | None
    reasons: Mapping[str, int]
    engines: tuple[EngineFacts, ...]
    scores: tuple[ScoreFacts, ...]
    samples: Mapping[str, Sequence[Sample]]
    skipped: tuple[SkippedRow, ...] = ()

    def kept_counts(self) -> npt.NDArray[np.int64]:
        """Kept rows in each bin, all engines."""
        return np.asarray(sum(one.kept_counts for one in self.engines), np.int64)

    def other_counts(self) -> npt.NDArray[np.int64]:
        """Rejected rows in each bin, all engines."""
        return np.asarray(sum(one.other_counts for one in self.engines), np.int64)
