"""`filter_captions`: every row gets its verdict and its reason; nothing is deleted.

Two streaming passes, since a percentile needs all scores before the first verdict: the first keeps some 40 bytes a row
(reason, score, three hashes), the second writes. Reasons are looked for in the order of `REASONS`, and a row has the
first; the percentile is of the rows that pass everything else.
"""

from __future__ import annotations

import math
import os
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from peyda.captions import (
    CaptionReader,
    ReadOptions,
    SkippedRow,
    is_score,
    key_columns,
    open_reader,
    open_writer,
    ordered,
    row_key,
)
from peyda.errors import DataError
from peyda.quality.pair import CaptionPair
from peyda.quality.rules import (
    BELOW_TOP,
    DUPLICATE_KEY,
    LOW_SCORE,
    NO_SCORE,
    REASONS,
    SAME_OUTPUT,
    Rule,
    default_rules,
    judge,
)

SAME_OUTPUT_SOURCES = 10
"""So many different sources with one translation are a stuck engine; in native captions it is 4 at most."""

FilterProgress = Callable[[str, int], None]
"""Called with "judging" or "writing", and the number of rows done so far."""


@dataclass(frozen=True, slots=True)
class FilterSummary:
    """What a run of `filter_captions` did.

    Attributes:
        rows: Rows of the table.
        kept: Rows that passed.
        reasons: Reason → rows rejected for it, in the order of `REASONS`, then those of other rules.
        engines: Engine → (rows, kept).
        cut: The lowest score that was let through, where there is a cut.
        by: The score column of the cut, if any.
        skipped: Lines of the file that are no rows, and why.
    """

    rows: int
    kept: int
    reasons: Mapping[str, int]
    engines: Mapping[str, tuple[int, int]]
    cut: float | None = None
    by: str | None = None
    skipped: tuple[SkippedRow, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping."""
        return {
            "rows": self.rows,
            "kept": self.kept,
            "reasons": dict(self.reasons),
            "engines": {name: {"rows": rows, "kept": kept} for name, (rows, kept) in self.engines.items()},
            "by": self.by,
            "cut": self.cut,
            "skipped_lines": len(self.skipped),
        }


@dataclass
class _Judged:
    """What the first pass keeps of each row."""

    codes: dict[str, int] = field(default_factory=lambda: {"": 0})  # reason → its number; 0 is "kept"
    verdicts: array[int] = field(default_factory=lambda: array("H"))
    scores: array[float] = field(default_factory=lambda: array("d"))
    keys: array[int] = field(default_factory=lambda: array("q"))
    sources: array[int] = field(default_factory=lambda: array("q"))
    outputs: array[int] = field(default_factory=lambda: array("q"))

    def code(self, reason: str) -> int:
        return self.codes.setdefault(reason, len(self.codes))


def filter_captions(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    rejects: str | os.PathLike[str] | None = None,
    rules: Sequence[Rule] | None = None,
    by: str | None = None,
    min_score: float | None = None,
    top: float | None = None,
    same_output_sources: int = SAME_OUTPUT_SOURCES,
    format: str | None = None,  # noqa: A002 - the word of the command line
    options: ReadOptions | None = None,
    progress: FilterProgress | None = None,
) -> FilterSummary:
    """Judge every row of a caption table and write it with its verdict in `kept` and `reason`.

    Args:
        source: The table.
        out: Where all rows go, or those that passed where `rejects` is given; may be `source` itself.
        rejects: Where the other rows go.
        rules: In this order; all of `default_rules` when None.
        by: The score column of the cut, or its name without "score_"; may be left out where there is one similarity
            column only.
        min_score: The lowest score that passes.
        top: The share of rows, best first, that passes, above 0 and up to 1: of those that nothing else speaks
            against. Equal scores at the cut all pass.
        same_output_sources: So many different sources with one translation reject it; 0 turns that off.
        format: Of `source`; by its name when None.
        options: How `source` is read.
        progress: Told how many rows are done.

    Raises:
        DataError: The table cannot be read, has no `caption_fa` or no such score, or changed between the passes.
        StorageError: A file cannot be written.
        ValueError: `top` is out of range, or `out` and `rejects` are one file (mistakes of the caller).
    """
    if top is not None and not 0 < top <= 1:
        raise ValueError(f"top is a share above 0 and up to 1, not {top}")
    if rejects is not None and os.path.abspath(os.fspath(rejects)) == os.path.abspath(os.fspath(out)):
        raise ValueError("out and rejects are one file")

    def reader() -> CaptionReader:
        return open_reader(source, format=format, options=options, duplicates="keep", required=("caption_fa",))

    chosen = tuple(default_rules() if rules is None else rules)
    with reader() as first:
        column = _score_column(first, by) if by or min_score is not None or top is not None else None
        judged = _judge_all(first, chosen, column, progress)
        skipped = tuple(first.skipped)
    _judge_together(judged, same_output_sources)
    cut = _cut(judged, column, min_score, top)
    return _write(reader, out, rejects, judged, cut, column, skipped, progress)


def _score_column(reader: CaptionReader, by: str | None) -> str:
    from peyda.quality.signals import SIGNALS

    scores = [name for name in reader.columns if is_score(name)]
    listed = f"its scores: {', '.join(scores)}" if scores else "peyda score adds some"
    if by is not None:
        for name in (by, f"score_{by}"):
            if name in scores:
                return name
        raise DataError(f"{reader.source} has no score {by!r}", hint=listed)
    similarities = [name for name in scores if name.removeprefix("score_") not in SIGNALS]
    if len(similarities) == 1:
        return similarities[0]
    if not similarities:
        raise DataError(f"{reader.source} has no score to cut by", hint=listed)
    raise DataError(f"{reader.source} has several scores", hint=f"choose one with --by; {listed}")


def _judge_all(
    reader: CaptionReader, rules: tuple[Rule, ...], column: str | None, progress: FilterProgress | None
) -> _Judged:
    judged = _Judged()
    keys = key_columns(reader.columns)
    for count, row in enumerate(reader, start=1):
        pair = CaptionPair.of(row)
        verdict = judge(pair, rules)
        score = math.nan if column is None else _number(row[column])
        if verdict is True and column is not None and math.isnan(score):
            verdict = False, NO_SCORE
        judged.verdicts.append(0 if verdict is True else judged.code(verdict[1]))
        judged.scores.append(score)
        # 64 bits of hash instead of the texts; equal within this process, which is all that is asked.
        judged.keys.append(hash(row_key(row, keys)))
        judged.sources.append(hash(pair.normal_en))
        judged.outputs.append(hash(pair.normal_fa))
        if progress is not None and count % 1000 == 0:
            progress("judging", count)
    if progress is not None:
        progress("judging", len(judged.verdicts))
    return judged


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _judge_together(judged: _Judged, same_output_sources: int) -> None:
    """The two reasons that take more than one row to see; only rows that nothing else speaks against."""
    verdicts = np.frombuffer(judged.verdicts, np.uint16)
    if not len(verdicts):
        return
    passing = np.flatnonzero(verdicts == 0)
    keys = np.frombuffer(judged.keys, np.int64)[passing]
    _, first = np.unique(keys, return_index=True)
    repeated = np.ones(len(passing), bool)
    repeated[first] = False
    verdicts[passing[repeated]] = judged.code(DUPLICATE_KEY)
    if not same_output_sources:
        return
    passing = passing[~repeated]
    outputs = np.frombuffer(judged.outputs, np.int64)[passing]
    sources = np.frombuffer(judged.sources, np.int64)[passing]
    with_source = sources != hash("")  # captions without a source have nothing to differ in
    pairs = np.unique(np.stack([outputs[with_source], sources[with_source]], axis=1), axis=0)
    values, counts = np.unique(pairs[:, 0], return_counts=True)
    stuck = np.isin(outputs, values[counts >= same_output_sources]) & with_source
    verdicts[passing[stuck]] = judged.code(SAME_OUTPUT)


def _cut(judged: _Judged, column: str | None, min_score: float | None, top: float | None) -> float | None:
    """Set the verdicts of the cut; returns the lowest score that passes."""
    if column is None or not len(judged.verdicts):
        return min_score
    verdicts = np.frombuffer(judged.verdicts, np.uint16)
    scores = np.frombuffer(judged.scores, np.float64)
    if min_score is not None:
        verdicts[(verdicts == 0) & (scores < min_score)] = judged.code(LOW_SCORE)
    cut = min_score
    passing: npt.NDArray[np.intp] = np.flatnonzero(verdicts == 0)
    if top is not None and len(passing):
        best = max(1, math.ceil(round(top * len(passing), 9)))  # 0.7 × 10 is 7.000000000000001
        nth = float(np.partition(scores[passing], len(passing) - best)[len(passing) - best])
        verdicts[passing[scores[passing] < nth]] = judged.code(BELOW_TOP)
        cut = nth if cut is None else max(cut, nth)
    return cut


def _write(
    reader: Callable[[], CaptionReader],
    out: str | os.PathLike[str],
    rejects: str | os.PathLike[str] | None,
    judged: _Judged,
    cut: float | None,
    column: str | None,
    skipped: tuple[SkippedRow, ...],
    progress: FilterProgress | None,
) -> FilterSummary:
    reasons = list(judged.codes)
    counts: Counter[str] = Counter()
    engines: dict[str, tuple[int, int]] = {}
    with ExitStack() as stack:
        rows = stack.enter_context(reader())
        columns = ordered([*rows.columns, "kept", "reason"])
        writer = stack.enter_context(open_writer(out, columns))
        other = writer if rejects is None else stack.enter_context(open_writer(rejects, columns))
        count = 0
        for count, row in enumerate(rows, start=1):
            if count > len(judged.verdicts):
                break
            reason = reasons[judged.verdicts[count - 1]]
            counts[reason] += 1
            engine = row.get("engine", "")
            total, kept = engines.get(engine, (0, 0))
            engines[engine] = (total + 1, kept + (not reason))
            (other if reason else writer).write({**row, "kept": not reason, "reason": reason})
            if progress is not None and count % 1000 == 0:
                progress("writing", count)
        if count != len(judged.verdicts):
            raise DataError(f"{rows.source} changed while it was read", hint="run the command again")
    if progress is not None:
        progress("writing", count)
    known = [reason for reason in (*REASONS, *reasons) if reason and counts[reason]]
    return FilterSummary(
        rows=count,
        kept=counts[""],
        reasons={reason: counts[reason] for reason in dict.fromkeys(known)},
        engines=engines,
        cut=cut,
        by=column,
        skipped=skipped,
    )
