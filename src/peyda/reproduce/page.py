"""The last page of a walk: figures and tables of all its stages in one file, and links to what the stages wrote.

The figures are inside the page, so that it can be passed on alone; the links lead to the files beside it.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from peyda._version import __version__
from peyda.evaluation import published
from peyda.evaluation.page import document, figures, isolated, paragraph, section, shown, table, with_margin
from peyda.reproduce.ledger import DONE, LEFT_OUT
from peyda.reproduce.results import Results, StageResult, relative
from peyda.reproduce.runner import command_line, duration

_DIRECTIONS = {"text_to_image": "text to image", "image_to_text": "image to text"}
_LONGEST_COMMAND = 4_000
_PUBLISHED_NOTE = (
    "Published elsewhere, of other photographs, captions or galleries. For orientation: these numbers do not compare "
    "with the ones above."
)
_ORIGINAL_NOTE = (
    "Measured as the original project did: the gallery is caption rows, doubled photographs count as different ones, "
    "and ties count for the query. Compare only with the original's curve."
)


def results_page(results: Results) -> Iterator[str]:
    """The page, in pieces."""
    yield from document(results.plan.walk.title, _lead(results), _sections(results))


def _lead(results: Results) -> str:
    done = sum(one.standing.word == DONE for one in results.stages)
    left_out = sum(one.standing.word == LEFT_OUT for one in results.stages)
    state = "Complete" if results.is_complete else "Not complete"
    counts = f"{done} of {len(results.stages)} stages done" + (f", {left_out} left out" if left_out else "")
    about = paragraph(results.plan.walk.about) if results.plan.walk.about else ""
    return f"{about}<p><strong>{state}</strong>: {counts}. Peyda {html.escape(__version__)}.</p>"


def _sections(results: Results) -> Iterator[str]:
    for one in results.stages:
        if one.figures or one.page or one.metrics is not None:
            yield section(_heading(one), *_result_parts(results, one))
    if any(_kind(one.metrics) in {_retrieval_table, _zeroshot_table} for one in results.stages):
        yield section("Published elsewhere", paragraph(_PUBLISHED_NOTE), _published_table())
    yield section("Stages", _stages_table(results))
    yield section("Values", _values_table(results))


def _heading(result: StageResult) -> str:
    return f"{result.planned.name}: {result.planned.stage.about}"


def _result_parts(results: Results, result: StageResult) -> Iterator[str]:
    metrics = result.metrics
    show = _kind(metrics)
    if show is not None:
        yield show(metrics)
        if show is _retrieval_table and metrics[0].get("protocol") == "original":
            yield paragraph(_ORIGINAL_NOTE)
    yield figures((Path(path), f"{result.planned.name}: {Path(path).stem}") for path in result.figures)
    if result.page:
        yield f"<p>{_link(results, result.page, 'The whole report')}</p>"


def _kind(metrics: Any) -> Any:
    """The function that makes a table of a stage's results; None for results of an unknown shape."""
    if isinstance(metrics, Mapping) and {"rows", "kept", "reasons"} <= metrics.keys():
        return _quality_table
    if not isinstance(metrics, Sequence) or not metrics or not all(isinstance(one, Mapping) for one in metrics):
        return None
    for needed, show in (
        ({"model", "variant", "queries"}, _robustness_table),
        ({"model", "direction", "accuracy_at_k", "mrr", "ci95"}, _retrieval_table),
        ({"model", "top1", "top5", "ci95"}, _zeroshot_table),
    ):
        if all(needed <= one.keys() for one in metrics):
            return show
    return None


def _retrieval_table(metrics: Sequence[Mapping[str, Any]]) -> str:
    ks = list(metrics[0]["accuracy_at_k"])

    def rows() -> Iterator[list[str]]:
        for one in metrics:
            accuracies = [
                with_margin(value, one["ci95"]["accuracy_at_k"][k]) for k, value in one["accuracy_at_k"].items()
            ]
            direction = html.escape(_DIRECTIONS.get(one["direction"], one["direction"]))
            counts = [f"{one['queries']:,}", f"{one['images']:,}"]
            mrr = with_margin(one["mrr"], one["ci95"]["mrr"])
            yield [isolated(one["model"]), direction, *counts, *accuracies, mrr, f"{one['median_rank']:g}"]

    head = ["model", "direction", "queries", "gallery", *(f"Acc@{k}" for k in ks), "MRR", "median rank"]
    return table(head, rows())


def _zeroshot_table(metrics: Sequence[Mapping[str, Any]]) -> str:
    rows = (
        [
            isolated(one["model"]),
            isolated(one["dataset"]),
            f"{one['photos']:,}",
            f"{one['classes']:,}",
            *(with_margin(one[name], one["ci95"][name]) for name in ("top1", "top5")),
        ]
        for one in metrics
    )
    return table(["model", "set", "photographs", "classes", "top-1", "top-5"], rows)


def _robustness_table(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Each way of typing beside the same queries typed correctly; one that no query has has no numbers."""
    k = max(metrics[0]["accuracy_at_k"], key=int)

    def number(one: Mapping[str, Any], name: str) -> str:
        return f"{one[name][k]:.3f}" if one["queries"] and name in one else "–"

    rows = (
        [
            isolated(one["model"]),
            shown(one["variant"].replace("_", " ")),
            f"{one['queries']:,}",
            number(one, "clean_accuracy_at_k"),
            number(one, "accuracy_at_k"),
        ]
        for one in metrics
    )
    return table(["model", "typed with", "queries", f"clean Acc@{k}", f"Acc@{k}"], rows, text=(1,))


def _quality_table(metrics: Mapping[str, Any]) -> str:
    rows = [["rows", f"{metrics['rows']:,}"], ["kept", f"{metrics['kept']:,}"]]
    rows += [[f"rejected: {shown(reason)}", f"{count:,}"] for reason, count in metrics["reasons"].items()]
    if metrics.get("cut") is not None:
        rows.append([f"lowest kept {shown(str(metrics['score']))}", f"{metrics['cut']:.3f}"])
    return table(["captions", ""], rows)


def _published_table() -> str:
    def rows() -> Iterator[list[str]]:
        for one in published.RETRIEVAL:
            accuracy = ", ".join(f"Acc@{k} {value:.3g}" for k, value in one.accuracy)
            yield [shown(one.system), shown(one.dataset), accuracy, shown(_source(one.source, one.remark))]
        for other in published.ZERO_SHOT:
            source = _source(other.source, other.remark)
            yield [shown(other.system), shown(other.dataset), f"top-1 {other.top1:.3g}", shown(source)]

    return table(("system", "on", "published", "source"), rows(), text=(1, 2, 3))


def _source(source: str, remark: str) -> str:
    return f"{source} ({remark})" if remark else source


def _stages_table(results: Results) -> str:
    def rows() -> Iterator[list[str]]:
        for one in results.stages:
            state = shown(one.standing.word + (f": {one.standing.why}" if one.standing.why else ""))
            took = duration(one.seconds) if one.seconds is not None else ""
            command = (
                "" if one.planned.left_out else f"<code>{isolated(command_line(one.planned.arguments), 2_000)}</code>"
            )
            log = _link(results, one.log, "log") if one.log else ""
            yield [shown(one.planned.name), state, took, command, log]

    return table(("stage", "state", "took", "command", ""), rows(), text=(1, 3))


def _values_table(results: Results) -> str:
    values = results.plan.values
    known = results.plan.walk.values.items()
    rows = ([shown(name), isolated(values[name]), shown(one.about)] for name, one in known if values[name])
    return table(("value", "is", "what"), rows, text=(1, 2))


def _link(results: Results, path: str, words: str) -> str:
    address = quote(relative(results.plan, path).encode("utf-8", "surrogateescape"))
    return f'<a href="{html.escape(address)}">{html.escape(words)}</a>'
