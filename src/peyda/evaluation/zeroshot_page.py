"""The page of a zero-shot evaluation: models, confusion matrices, every class, the commonest mistakes as pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from peyda.evaluation import published
from peyda.evaluation.page import (
    comparison_table,
    document,
    figures,
    isolated,
    paragraph,
    photograph,
    picture,
    section,
    shown,
    table,
    with_margin,
)
from peyda.evaluation.zeroshot import ModelClasses, ZeroShotReport, figure_names

_MISTAKES = 12
_EXAMPLES = 4
_NOTE = (
    "A photograph is given the class whose Persian name, averaged over the templates, is nearest to it. What scores as "
    "high as the true class counts as before it. Intervals are 95 % ones, from resampling photographs; macro averages "
    "give every class the same weight."
)
_PUBLISHED_NOTE = (
    "Measured by others, with other names, templates and photographs. For orientation: these numbers and the ones "
    "above do not compare."
)


def zeroshot_page(report: ZeroShotReport, folder: Path) -> Iterator[str]:
    """The page, in pieces; the figures are taken from `folder` where they are there."""
    run = report.run
    templates = " · ".join(isolated(one) for one in run["templates"])
    lead = (
        f"<p><strong>{run['photos']:,} photographs</strong> of <strong>{run['classes']:,} classes</strong>;"
        f" {run['skipped_images']:,} left out.</p>\n{paragraph(_NOTE)}\n<p>Templates: {templates}</p>"
    )
    yield from document(f"Zero-shot classification of {run['dataset']}", lead, _sections(report, folder))


def _sections(report: ZeroShotReport, folder: Path) -> Iterator[str]:
    yield section("Accuracy", _models(report))
    if report.comparisons:
        numbers = comparison_table(report.comparisons, {"metric": lambda one: str(one["metric"])})
        yield section("Is one better?", paragraph("Second less first, on the same photographs."), numbers)
    names = figure_names(len(report.results))
    pictures = figures(
        (folder / name, f"Confusion matrix of {one.model}") for name, one in zip(names, report.results, strict=True)
    )
    if pictures:
        yield section("Confusion", pictures)
    yield section("Commonest mistakes", _mistakes(report, report.results[0]))
    for one in report.results:
        yield section(f"Classes: {one.model}", _classes(report, one))
    yield section("Published elsewhere", paragraph(_PUBLISHED_NOTE), _published())


def _models(report: ZeroShotReport) -> str:
    rows = (
        [
            isolated(one["model"]),
            with_margin(one["top1"], one["ci95"]["top1"]),
            with_margin(one["top5"], one["ci95"]["top5"]),
            f"{one['macro_recall']:.3f}",
            f"{one['macro_f1']:.3f}",
        ]
        for one in report.metrics
    )
    return table(("model", "top-1", "top-5", "macro recall", "macro F1"), rows)


def _mistakes(report: ZeroShotReport, result: ModelClasses) -> str:
    """The most frequent pairs of a true and a wrong class, with some photographs each."""
    wrong = result.confusion.copy()
    np.fill_diagonal(wrong, 0)
    cards = []
    for flat in np.argsort(-wrong, axis=None, kind="stable")[:_MISTAKES].tolist():
        true, predicted = divmod(flat, wrong.shape[1])
        if not wrong[true, predicted]:
            break
        found = np.flatnonzero((report.labelled.labels == true) & (result.predictions == predicted))[:_EXAMPLES]
        examples = "".join(f"<figure>{_example(report, at)}</figure>" for at in found.tolist())
        classes = report.labelled.classes
        cards.append(
            f"<li><p>{isolated(classes[true].fa[0])} taken for {isolated(classes[predicted].fa[0])}:"
            f" {int(wrong[true, predicted]):,} of {int(result.confusion[true].sum()):,}</p>"
            f'<div class="pictures">{examples}</div></li>'
        )
    return f'<ul class="cards">{"".join(cards)}</ul>' if cards else paragraph("None.")


def _example(report: ZeroShotReport, at: int) -> str:
    image = report.labelled.picture(at)
    return photograph(report.labelled.images[at]) if image is None else picture(image)


def _classes(report: ZeroShotReport, result: ModelClasses) -> str:
    lines = sorted((one for one in report.classes(result) if one["photos"]), key=lambda one: (one["f1"], one["class"]))
    rows = (
        [
            isolated(one["class"]),
            isolated(one["fa"]),
            f"{one['photos']:,}",
            f"{one['precision']:.3f}",
            f"{one['recall']:.3f}",
            f"{one['f1']:.3f}",
        ]
        for one in lines
    )
    return table(("class", "name", "photographs", "precision", "recall", "F1"), rows, text=(1,))


def _published() -> str:
    rows = (
        [
            shown(one.system),
            shown(one.dataset),
            f"top-1 {one.top1:.3g}",
            shown(one.source + (f". {one.remark[0].upper()}{one.remark[1:]}." if one.remark else "")),
        ]
        for one in published.ZERO_SHOT
    )
    return table(("system", "on", "published", "source"), rows, text=(1, 2, 3))
