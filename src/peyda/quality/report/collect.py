"""What a report shows, gathered from caption tables of any size in two passes.

The first pass keeps some 12 bytes a row and 8 for each score column; the second picks up the rows that were chosen as
samples. The choice is random where it may be, with a fixed seed: the same table gives the same page.
"""

from __future__ import annotations

import math
import os
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from peyda.captions import CaptionReader, ReadOptions, SkippedRow, is_score, open_reader
from peyda.errors import DataError
from peyda.quality.report.facts import EngineFacts, ReportFacts, ScoreFacts
from peyda.quality.report.sampling import NOT_KEPT, SCORE_REASONS, build_samples, is_kept, number, pick_rows
from peyda.quality.signals import SIGNALS

_PREFERRED = "score_mini"
_BINS = 50
_EDGE = 0.05  # the histogram begins and ends at a multiple of this

ReportProgress = Callable[[str, int], None]


@dataclass
class _Columns:
    """The first pass: a few numbers a row."""

    scores: dict[str, array[float]] = field(default_factory=dict)
    reasons: array[int] = field(default_factory=lambda: array("H"))
    engines: array[int] = field(default_factory=lambda: array("H"))
    reason_codes: dict[str, int] = field(default_factory=lambda: {"": 0})
    engine_codes: dict[str, int] = field(default_factory=dict)
    is_judged: bool = False
    skipped: list[SkippedRow] = field(default_factory=list)


def collect(
    sources: Sequence[str | os.PathLike[str]],
    *,
    by: str | None = None,
    cut: float | None = None,
    samples: int = 12,
    seed: int = 0,
    format: str | None = None,  # noqa: A002 - the word of the command line
    options: ReadOptions | None = None,
    progress: ReportProgress | None = None,
) -> ReportFacts:
    """Gather a report from one table, or from several (kept rows and rejects).

    Args:
        sources: The tables.
        by: The score of the histogram, or its name without "score_"; by default `score_mini`, or the first one that
            is no cheap signal.
        cut: Where the cut is; by default the lowest kept score, if rows were rejected for theirs.
        samples: Rows of each kind to show.
        seed: Of the choice of samples.
        format: Of the tables; by their names when None.
        options: How they are read.
        progress: Told the stage and the rows so far.

    Raises:
        DataError: A table cannot be read, lacks `caption_fa` or the score, or changed between the passes.
        ValueError: `samples` is negative.
    """
    if samples < 0:
        raise ValueError("samples is negative")

    def open_all() -> list[CaptionReader]:
        required = ("caption_fa",)
        return [
            open_reader(one, format=format, options=options, duplicates="keep", required=required) for one in sources
        ]

    columns = _first_pass(open_all(), progress)
    column = _chosen(columns, by, [os.fspath(one) for one in sources])
    scores = _as_floats(columns, column)
    reasons = np.frombuffer(columns.reasons, np.uint16)
    found_cut = cut if cut is not None else _inferred_cut(columns, scores, reasons)
    picks = pick_rows(columns.reason_codes, scores, reasons, found_cut, samples, np.random.default_rng(seed))
    rows = _second_pass(open_all(), {at for group in picks.values() for at in group}, len(reasons), progress)
    edges = _edges(scores)
    return ReportFacts(
        sources=tuple(os.fspath(one) for one in sources),
        rows=len(reasons),
        kept=int((reasons == 0).sum()),
        is_judged=columns.is_judged,
        column=column,
        edges=edges,
        cut=found_cut,
        reasons=_reason_counts(columns, reasons),
        engines=_engines(columns, scores, reasons, edges),
        scores=tuple(_score_facts(name, np.frombuffer(values)) for name, values in columns.scores.items()),
        samples=build_samples(picks, rows, column, samples),
        skipped=tuple(columns.skipped),
    )


def _first_pass(readers: list[CaptionReader], progress: ReportProgress | None) -> _Columns:
    columns = _Columns()
    names = dict.fromkeys(name for reader in readers for name in reader.columns if is_score(name))
    columns.scores = {name: array("d") for name in names}
    with ExitStack() as stack:
        for reader in readers:
            stack.enter_context(reader)
            columns.is_judged |= "kept" in reader.columns
            for row in reader:
                for name, values in columns.scores.items():
                    values.append(number(row.get(name, "")))
                reason = "" if is_kept(row) else row.get("reason", "").strip() or NOT_KEPT
                columns.reasons.append(_code(columns.reason_codes, reason))
                columns.engines.append(_code(columns.engine_codes, row.get("engine", "").strip()))
                if progress is not None and len(columns.reasons) % 1000 == 0:
                    progress("read", len(columns.reasons))
            columns.skipped += reader.skipped
    if not len(columns.reasons):
        raise DataError("there are no rows to report on", hint="check that it is the right table")
    return columns


def _code(codes: dict[str, int], name: str) -> int:
    code = codes.setdefault(name, len(codes))
    if code > np.iinfo(np.uint16).max:
        raise DataError(
            "the table has more than 65,535 different reasons or engines",
            hint="check that the columns reason and engine hold what their names say",
        )
    return code


def _chosen(columns: _Columns, by: str | None, sources: Sequence[str]) -> str | None:
    names = list(columns.scores)
    if by is not None:
        for name in (by, f"score_{by}"):
            if name in names:
                return name
        listed = f"its scores: {', '.join(names)}" if names else "peyda score adds some"
        raise DataError(f"{sources[0]} has no score {by!r}", hint=listed)
    similarities = [name for name in names if name.removeprefix("score_") not in SIGNALS]
    if _PREFERRED in similarities:
        return _PREFERRED
    return next(iter(similarities), None)


def _as_floats(columns: _Columns, column: str | None) -> npt.NDArray[np.float64]:
    if column is None:
        return np.full(len(columns.reasons), np.nan)
    return np.frombuffer(columns.scores[column])


def _inferred_cut(columns: _Columns, scores: npt.NDArray[np.float64], reasons: npt.NDArray[np.uint16]) -> float | None:
    codes = [code for reason, code in columns.reason_codes.items() if reason in SCORE_REASONS]
    kept = scores[(reasons == 0) & ~np.isnan(scores)]
    return float(kept.min()) if len(kept) and np.isin(reasons, codes).any() else None


def _edges(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    known = scores[~np.isnan(scores)]
    if not len(known):
        return np.linspace(0, 1, _BINS + 1)
    step = _EDGE * max(1.0, float(np.ptp(known)))
    low, high = math.floor(known.min() / step) * step, math.ceil(known.max() / step) * step
    return np.linspace(low, high if high > low else low + step, _BINS + 1)


def _reason_counts(columns: _Columns, reasons: npt.NDArray[np.uint16]) -> dict[str, int]:
    counts = np.bincount(reasons, minlength=len(columns.reason_codes))
    found = Counter({reason: int(counts[code]) for reason, code in columns.reason_codes.items() if reason})
    return {reason: count for reason, count in found.most_common() if count}


def _engines(
    columns: _Columns,
    scores: npt.NDArray[np.float64],
    reasons: npt.NDArray[np.uint16],
    edges: npt.NDArray[np.float64],
) -> tuple[EngineFacts, ...]:
    engines = np.frombuffer(columns.engines, np.uint16)
    facts = []
    for name, code in columns.engine_codes.items():
        mine = engines == code
        is_in = reasons[mine] == 0
        own = scores[mine]
        known = own[~np.isnan(own)]
        facts.append(
            EngineFacts(
                name=name,
                rows=int(mine.sum()),
                kept=int(is_in.sum()),
                mean=float(known.mean()) if len(known) else math.nan,
                median=float(np.median(known)) if len(known) else math.nan,
                kept_counts=np.histogram(own[is_in & ~np.isnan(own)], edges)[0],
                other_counts=np.histogram(own[~is_in & ~np.isnan(own)], edges)[0],
            )
        )
    return tuple(sorted(facts, key=lambda one: (-one.rows, one.name)))


def _score_facts(column: str, scores: npt.NDArray[np.float64]) -> ScoreFacts:
    known = scores[~np.isnan(scores)]
    if not len(known):
        return ScoreFacts(column, 0, math.nan, math.nan, math.nan, math.nan)
    p5, median, p95 = np.percentile(known, [5, 50, 95])
    return ScoreFacts(column, len(known), float(known.mean()), float(p5), float(median), float(p95))


def _second_pass(
    readers: list[CaptionReader], wanted: set[int], total: int, progress: ReportProgress | None
) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    at = -1
    with ExitStack() as stack:
        for reader in readers:
            stack.enter_context(reader)
            for row in reader:
                at += 1
                if at in wanted:
                    found[at] = row
                if progress is not None and at % 1000 == 0:
                    progress("picking samples", at)
    if at + 1 != total:
        raise DataError("a table changed while it was read", hint="run the command again")
    return found
