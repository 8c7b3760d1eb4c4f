"""The page of a robustness evaluation: the figure, every variant beside the clean queries, and examples of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peyda.evaluation.page import document, figures, isolated, paragraph, section, shown, table, with_margin
from peyda.evaluation.robustness import CLEAN, FIGURE, RobustnessReport
from peyda.persian.typos import VARIANTS

_NOTE = (
    "Each kind of mistyping is measured on the queries that it changes, beside the same queries written correctly. "
    "What the normaliser makes equal again costs nothing, whatever the model. Intervals are 95 % ones, from resampling "
    "photographs; p is of a paired permutation test."
)


def robustness_page(report: RobustnessReport, folder: Path) -> Iterator[str]:
    """The page, in pieces; the figure is taken from `folder` where it is there."""
    run = report.run
    lead = (
        f"<p><strong>{run['queries']:,} captions</strong> of the column {isolated(run['column'])} among"
        f" <strong>{run['images']:,} photographs</strong>; {run['skipped_images']:,} images left out.</p>\n"
        f"{paragraph(_NOTE)}"
    )
    yield from document(f"Mistyped queries on {report.metrics[0]['dataset']}", lead, _sections(report, folder))


def _sections(report: RobustnessReport, folder: Path) -> Iterator[str]:
    pictures = figures([(folder / FIGURE, "Acc@k of each kind of mistyping")])
    if pictures:
        yield section("At a glance", pictures)
    for model in dict.fromkeys(one["model"] for one in report.metrics):
        yield section(f"Model {model}", _numbers(report, model))
    yield section("Examples", _examples(report))


def _numbers(report: RobustnessReport, model: str) -> str:
    ks = [str(k) for k in report.run["k"]]

    def rows() -> Iterator[list[str]]:
        for one in report.metrics:
            if one["model"] == model:
                yield [shown(one["variant"].replace("_", " ")), f"{one['queries']:,}", *_cells(one, ks)]

    head = ["queries as", "changed", "equal again"]
    for k in ks:
        head += [f"clean Acc@{k}", f"Acc@{k}", "difference", "p"]
    return table(head, rows())


def _cells(one: dict[str, Any], ks: list[str]) -> list[str]:
    if not one["queries"]:
        return ["–"] * (1 + 4 * len(ks))
    cells = ["–" if one["variant"] == CLEAN else f"{one['same_after_normalizing'] / one['queries']:.0%}"]
    for k in ks:
        accuracy = with_margin(one["accuracy_at_k"][k], one["ci95"]["accuracy_at_k"][k])
        if one["variant"] == CLEAN:
            cells += [accuracy, "–", "–", "–"]
        else:
            difference = one["difference"][k]
            clean = f"{one['clean_accuracy_at_k'][k]:.3f}"
            cells += [clean, accuracy, f"{difference['value']:+.3f}", f"{difference['p']:.4f}"]
    return cells


def _examples(report: RobustnessReport) -> str:
    described = {one.code: one.description for one in VARIANTS}

    def rows() -> Iterator[list[str]]:
        for code, pairs in report.examples.items():
            written = "<br>".join(isolated(clean) for clean, _ in pairs)
            mistyped = "<br>".join(isolated(other) for _, other in pairs)
            yield [shown(code.replace("_", " ")), shown(described[code]), written, mistyped]

    return table(("variant", "what it is", "written", "mistyped"), rows(), text=(1, 2, 3))
