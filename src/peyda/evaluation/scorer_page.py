"""The page of a scorer evaluation: scorers, damages, figures, and the pairs that were told apart worst and best."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from peyda.evaluation.page import (
    comparison_table,
    document,
    figures,
    isolated,
    left_out_pairs,
    paragraph,
    said,
    section,
    shown,
    table,
    with_margin,
)
from peyda.evaluation.scorer import DIRECTIONS, FIGURES, ScorerReport

_EXAMPLES = 12
_NOTE = (
    "A scorer says how well a Persian caption renders an English one. “Right one first”: how often the right caption "
    "of the other language is nearest among all of the table; ties count against the scorer. The area under the curve "
    "is the chance that a true pair scores above a damaged one, each damage with the same weight. Intervals are 95 % "
    "ones, from resampling whole photographs. Scores of two scorers do not compare; these numbers do."
)
_COMPARISON_NOTE = (
    "Second less first, on the same captions. p: a paired permutation test over photographs, for areas the paired "
    "bootstrap; Holm: corrected for the number of pairs. Below 0.05 a difference is called significant here."
)
_HEADINGS = {"english_to_persian": "English → Persian", "persian_to_english": "Persian → English"}
_ALTS = ("How scores of true and damaged pairs spread", "ROC curves")


def scorer_page(report: ScorerReport, folder: Path) -> Iterator[str]:
    """The page, in pieces; the figures are taken from `folder` where they are there."""
    run, first = report.run, report.metrics[0]
    names = ", ".join(isolated(one["model"]) for one in report.metrics)
    lead = (
        f"<p>{names}: <strong>{run['pairs']:,} pairs</strong> of <strong>{run['images']:,} photographs</strong>.</p>\n"
        f"{left_out_pairs(run)}{paragraph(_NOTE)}"
    )
    yield from document(f"Scores of {first['dataset']}", lead, _sections(report, folder))


def _sections(report: ScorerReport, folder: Path) -> Iterator[str]:
    yield section("Scorers", _numbers(report.metrics))
    if report.comparisons:
        tests = comparison_table(report.comparisons, {"metric": lambda one: _metric_name(one["metric"])})
        yield section("Is one better?", paragraph(_COMPARISON_NOTE), tests)
    pictures = figures((folder / name, alt) for name, alt in zip(FIGURES, _ALTS, strict=True))
    if pictures:
        yield section("True and damaged", pictures)
    yield section("Damages: area under the curve", _damages(report.metrics, "area_under_curve"))
    yield section("Damages: own pair scores higher", paragraph(_OWN_NOTE), _damages(report.metrics, "own_pair_wins"))
    count = _EXAMPLES if len(report.results) == 1 else _EXAMPLES // 2
    for at, one in enumerate(report.results):
        suffix = f": {one.name}" if len(report.results) > 1 else ""
        yield section(f"Told apart worst{suffix}", paragraph(_WORST_NOTE), _cards(report, at, count, is_worst=True))
        yield section(f"Told apart best{suffix}", _cards(report, at, count, is_worst=False))
        yield section(f"True pairs with the lowest scores{suffix}", paragraph(_LOW_NOTE), _lowest(report, at, count))


_OWN_NOTE = "The same caption with and without the damage: what matters where two translations of one caption compete."
_WORST_NOTE = (
    "Damaged captions that score highest above the true one, one for each pair. Damages are made by rule, and now and "
    "then leave a caption as good as it was."
)
_LOW_NOTE = "Either the scorer is wrong here, or the pair is."


def _metric_name(metric: str) -> str:
    way = metric.removesuffix("_accuracy_at_1")
    return "area under the curve" if way == metric else f"{_HEADINGS[way]}, right one first"


def _is_best(metrics: list[dict[str, Any]], value: float, values: list[float]) -> bool:
    return len(metrics) > 1 and value == max(values)


def _numbers(metrics: list[dict[str, Any]]) -> str:
    def rows() -> Iterator[list[str]]:
        for one in metrics:
            cells = [isolated(one["model"])]
            for way in DIRECTIONS:
                first = [other[way]["accuracy_at_1"] for other in metrics]
                interval = one[way]["ci95"]
                best = _is_best(metrics, one[way]["accuracy_at_1"], first)
                cells.append(with_margin(one[way]["accuracy_at_1"], interval["accuracy_at_1"], is_best=best))
                cells.append(with_margin(one[way]["mrr"], interval["mrr"]))
            areas = [other["area_under_curve"] for other in metrics]
            best = _is_best(metrics, one["area_under_curve"], areas)
            cells.append(with_margin(one["area_under_curve"], one["ci95"]["area_under_curve"], is_best=best))
            yield cells

    head = ["scorer"]
    for way in DIRECTIONS:
        head += [f"{_HEADINGS[way]}, right one first", "MRR"]
    return table([*head, "area under the curve"], rows())


def _damages(metrics: list[dict[str, Any]], number: str) -> str:
    def rows() -> Iterator[list[str]]:
        for name, first in metrics[0]["damages"].items():
            values = [one["damages"][name][number] for one in metrics]
            cells = (
                with_margin(value, one["damages"][name]["ci95"][number], is_best=_is_best(metrics, value, values))
                for one, value in zip(metrics, values, strict=True)
            )
            yield [shown(name.replace("_", " ")), f"{first['pairs']:,}", *cells]

    return table(["damage", "pairs", *(one["model"] for one in metrics)], rows())


def _cards(report: ScorerReport, at: int, count: int, *, is_worst: bool) -> str:
    result = report.results[at]
    gains = [(float(result.true[row] - score), kind, row)
             for kind, one in result.damages.items()
             for row, score in zip(one.rows.tolist(), one.scores.tolist(), strict=True)]  # fmt: skip
    chosen: list[tuple[str, int]] = []
    for gain, kind, row in sorted(gains, key=lambda one: one[0], reverse=not is_worst):
        if len(chosen) == count or (is_worst and gain > 0):
            break
        # The easiest damage would fill the page with itself.
        if all(row != other for _, other in chosen) and (
            is_worst or sum(kind == one for one, _ in chosen) < count // 6
        ):
            chosen.append((kind, row))
    if not chosen:
        return paragraph("None.")
    return f'<ul class="cards">{"".join(_card(report, kind, row) for kind, row in chosen)}</ul>'


def _card(report: ScorerReport, kind: str, row: int) -> str:
    pair = report.pairs[row]
    true = " · ".join(f"{isolated(one.name)} {one.true[row]:.3f}" for one in report.results)
    found = [one.damages[kind] for one in report.results]
    damaged = " · ".join(
        f"{isolated(one.name)} {some.scores[int(np.flatnonzero(some.rows == row)[0])]:.3f}"
        for one, some in zip(report.results, found, strict=True)
    )
    return (
        f"<li>{said(pair.english, 'en')}<dl><dt>true: {true}</dt><dd>{said(pair.persian, 'fa')}</dd>"
        f"<dt>{shown(kind.replace('_', ' '))}: {damaged}</dt>"
        f"<dd>{said(report.damaged[kind][row] or '', 'fa')}</dd></dl></li>"
    )


def _lowest(report: ScorerReport, at: int, count: int) -> str:
    cards = []
    for row in np.argsort(report.results[at].true, kind="stable")[:count].tolist():
        pair = report.pairs[row]
        scores = " · ".join(f"{isolated(one.name)} {one.true[row]:.3f}" for one in report.results)
        cards.append(f"<li>{said(pair.english, 'en')}{said(pair.persian, 'fa')}<p>{scores}</p></li>")
    return f'<ul class="cards">{"".join(cards)}</ul>'
