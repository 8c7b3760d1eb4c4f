"""`score_captions`: a caption table in, the same table with score columns out, whatever its size.

Rows pass through in chunks, in order and complete: a row that cannot be scored has an empty score. The table is
written at once or not at all; an interrupted run leaves its scores in journals beside it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from peyda.captions import ReadOptions, SkippedRow, open_reader, open_writer, ordered
from peyda.quality.journal import ScoreJournal
from peyda.quality.pair import CaptionPair
from peyda.quality.scorers import Scorer
from peyda.quality.signals import SIGNALS
from peyda.types import Float32

_CHUNK = 4096
_DECIMALS = 5

ScoreProgress = Callable[[int], None]
"""Called with the number of rows done so far."""


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """What a run of `score_captions` did.

    Attributes:
        rows: Rows written.
        scored: Column → how many of them have a score.
        means: Column → their mean; absent where there are none.
        resumed: Scores taken over from an interrupted run.
        skipped: Lines of the file that are no rows, and why.
    """

    rows: int
    scored: Mapping[str, int]
    means: Mapping[str, float]
    resumed: int = 0
    skipped: tuple[SkippedRow, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping."""
        return {
            "rows": self.rows,
            "scored": dict(self.scored),
            "means": {name: round(value, _DECIMALS) for name, value in self.means.items()},
            "resumed": self.resumed,
            "skipped_lines": len(self.skipped),
        }


@dataclass
class _Totals:
    rows: int = 0
    resumed: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, column: str, value: float) -> None:
        self.counts[column] += 1
        self.sums[column] += value


def score_captions(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    scorers: Sequence[Scorer],
    *,
    with_signals: bool = True,
    format: str | None = None,  # noqa: A002 - the word of the command line
    options: ReadOptions | None = None,
    progress: ScoreProgress | None = None,
) -> ScoreSummary:
    """Add a column for each scorer, and one for each cheap signal, to a caption table.

    Args:
        source: The table; it needs `caption_fa`.
        out: Where the table goes; may be `source` itself.
        scorers: Each fills its column; one that was there is replaced.
        with_signals: Add the columns of `peyda.quality.SIGNALS`.
        format: Of `source`; by its name when None.
        options: How `source` is read.
        progress: Told how many rows are done.

    Raises:
        DataError: The table cannot be read, or has no `caption_fa`.
        ModelError: A model fails.
        StorageError: `out` cannot be written.
        ValueError: Two scorers fill one column (a mistake of the caller).
    """
    columns = [*(scorer.column for scorer in scorers), *(f"score_{name}" for name in SIGNALS if with_signals)]
    if len(set(columns)) != len(columns):
        raise ValueError(f"two scorers fill one column: {columns}")
    totals = _Totals(counts=dict.fromkeys(columns, 0), sums=dict.fromkeys(columns, 0.0))
    name = os.path.abspath(os.fspath(out))
    with ExitStack() as stack:
        reader = stack.enter_context(
            open_reader(source, format=format, options=options, duplicates="keep", required=("caption_fa",))
        )
        journals = [ScoreJournal(name, scorer.column, scorer.fingerprint) for scorer in scorers]
        for journal in journals:
            stack.callback(journal.close)
        with open_writer(out, ordered([*reader.columns, *columns])) as writer:
            for rows in _chunks(reader):
                for row in _scored(rows, scorers, journals, with_signals, totals):
                    writer.write(row)
                totals.rows += len(rows)
                if progress is not None:
                    progress(totals.rows)
        for journal in journals:
            journal.remove()
        skipped = tuple(reader.skipped)
    means = {column: totals.sums[column] / count for column, count in totals.counts.items() if count}
    return ScoreSummary(totals.rows, totals.counts, means, totals.resumed, skipped)


def _chunks(rows: Iterator[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk


def _scored(
    rows: list[dict[str, str]],
    scorers: Sequence[Scorer],
    journals: Sequence[ScoreJournal],
    with_signals: bool,
    totals: _Totals,
) -> Iterator[dict[str, object]]:
    values = [_score_chunk(rows, scorer, journal, totals) for scorer, journal in zip(scorers, journals, strict=True)]
    for at, row in enumerate(rows):
        full: dict[str, object] = dict(row)
        for scorer, scores in zip(scorers, values, strict=True):
            full[scorer.column] = _noted(scorer.column, float(scores[at]), totals)
        if with_signals:
            pair = CaptionPair.of(row)
            for name, signal in SIGNALS.items():
                full[f"score_{name}"] = _noted(f"score_{name}", signal(pair) if pair.caption_fa else math.nan, totals)
        yield full


def _noted(column: str, score: float, totals: _Totals) -> float | None:
    if math.isnan(score):
        return None
    score = round(score, _DECIMALS)
    totals.add(column, score)
    return score


def _score_chunk(rows: list[dict[str, str]], scorer: Scorer, journal: ScoreJournal, totals: _Totals) -> Float32:
    """`Float32[rows]`, NaN where there is no score. Equal inputs are scored once."""
    inputs = [scorer.inputs_of(row) for row in rows]
    distinct = list(dict.fromkeys(one for one in inputs if one))
    scores, found = journal.known(distinct)
    totals.resumed += int(found.sum())
    missing = [one for one, is_known in zip(distinct, found, strict=True) if not is_known]
    if missing:
        fresh = scorer.score(missing)
        kept = np.isfinite(fresh)  # a photograph that could not be read is tried again, and named again
        journal.add([one for one, is_kept in zip(missing, kept, strict=True) if is_kept], fresh[kept])
        scores[~found] = fresh
    by_input = dict(zip(distinct, scores.tolist(), strict=True))
    return np.asarray([by_input[one] if one else math.nan for one in inputs], np.float32)
