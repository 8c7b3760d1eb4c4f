"""The page of a translation evaluation: one table of all systems, paired tests, how captions fare, best and worst."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

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
from peyda.evaluation.translation import FIGURE, TranslationReport

_EXAMPLES = 12
_NOTE = (
    "BLEU and chrF of sacreBLEU, one reference each, after mapping Arabic ي and ك, half-spaces to spaces, and dropping "
    "a final stop. A caption has many right translations, so the numbers compare systems on the same captions and say "
    "little alone. Intervals are 95 % ones, from resampling whole photographs with their captions."
)
_COMPARISON_NOTE = (
    "Second less first, on the same captions. p: approximate randomisation, photographs exchanged between the two "
    "systems at random; Holm: corrected for the number of pairs. Below 0.05 a difference is called significant here."
)
_NAMES = {"bleu": "BLEU", "chrf": "chrF"}


def translation_page(report: TranslationReport, folder: Path) -> Iterator[str]:
    """The page, in pieces; the figure is taken from `folder` where it is there."""
    run, first = report.run, report.metrics[0]
    names = ", ".join(isolated(one["model"]) for one in report.metrics)
    lead = (
        f"<p>{names}: <strong>{run['pairs']:,} captions</strong> of <strong>{run['images']:,} photographs</strong>."
        f"</p>\n{left_out_pairs(run)}{paragraph(_NOTE)}"
    )
    yield from document(f"Translation of {first['dataset']}", lead, _sections(report, folder))


def _sections(report: TranslationReport, folder: Path) -> Iterator[str]:
    yield section("Systems", _numbers(report), f"<p>{shown(report.metrics[0]['signature'])}</p>")
    if report.comparisons:
        head = {"metric": lambda one: _NAMES[one["metric"]]}
        yield section(
            "Is one better?", paragraph(_COMPARISON_NOTE), comparison_table(report.comparisons, head, decimals=2)
        )
    pictures = figures([(folder / FIGURE, "How chrF spreads over captions")])
    if pictures:
        yield section("Caption by caption", pictures)
    count = _EXAMPLES if len(report.systems) == 1 else _EXAMPLES // 2
    for at, one in enumerate(report.metrics):
        suffix = f": {one['model']}" if len(report.systems) > 1 else ""
        yield section(f"Worst translations{suffix}", _cards(report, _ordered(report, at, is_best=False)[:count]))
        yield section(f"Best translations{suffix}", _cards(report, _ordered(report, at, is_best=True)[:count]))


def _numbers(report: TranslationReport) -> str:
    best = {
        name: max(one[name] for one in report.metrics) if len(report.metrics) > 1 else float("inf") for name in _NAMES
    }
    rows = (
        [
            isolated(one["model"]),
            *(
                with_margin(one[name], one["ci95"][name], is_best=one[name] == best[name], decimals=2)
                for name in _NAMES
            ),
            f"{one['chrf_median_caption']:.2f}",
            f"{one['length_ratio']:.3f}",
            f"{one['failed']:,}",
            "–" if one["captions_per_second"] is None else f"{one['captions_per_second']:,.1f}",
        ]
        for one in report.metrics
    )
    head = ("system", *_NAMES.values(), "median caption", "length ratio", "failed", "captions/s")
    return table(head, rows)


def _ordered(report: TranslationReport, at: int, *, is_best: bool) -> list[int]:
    """Captions that have a translation, by their chrF and then the longest first; those without are counted above."""
    scores = report.chrf_of_captions[at]
    lengths = np.asarray([-len(pair.persian) for pair in report.pairs])
    order: list[int] = np.lexsort((lengths, -scores if is_best else scores)).tolist()
    return [row for row in order if report.systems[at].texts[row]]


def _cards(report: TranslationReport, chosen: Sequence[int]) -> str:
    cards = []
    for at in chosen:
        pair = report.pairs[at]
        answers = "".join(
            f"<dt>{isolated(numbers['model'])}, chrF {float(scores[at]):.1f}</dt>"
            f"<dd>{said(one.texts[at], 'fa') if one.texts[at] else 'no translation'}</dd>"
            for one, numbers, scores in zip(report.systems, report.metrics, report.chrf_of_captions, strict=True)
        )
        reference = f"<dt>reference</dt><dd>{said(pair.persian, 'fa')}</dd>"
        cards.append(f"<li>{said(pair.english, 'en')}<dl>{reference}{answers}</dl></li>")
    return f'<ul class="cards">{"".join(cards)}</ul>' if cards else paragraph("None.")
