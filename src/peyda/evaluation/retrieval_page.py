"""The page of a retrieval evaluation: figures, one table of all models, paired tests, the worst misses as pictures."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peyda.evaluation import published
from peyda.evaluation.page import (
    comparison_table,
    document,
    figures,
    isolated,
    paragraph,
    photograph,
    section,
    shown,
    table,
    with_margin,
)
from peyda.evaluation.report import FIGURES, Miss, RetrievalReport

ORIGINAL_NOTE = (
    "Measured as the original project did, so that its curve can be compared like with like: the gallery is "
    "{rows:,} caption rows, here of {photographs:,} different photographs, so doubles are in it; only a row's own text "
    "is its answer; and what scores exactly as high as the own photograph (its doubles do) stands behind it. Ties for "
    "the query and doubles both make the numbers higher than Peyda's own protocol, which has every photograph once, "
    "asks every caption, and counts ties against the query: do not put the two in one column."
)
PEYDA_NOTE = (
    "The gallery holds distinct photographs, every caption is a query, and what scores as high as the own photograph "
    "counts as before it. Intervals are 95 % ones, from resampling whole photographs."
)
_DIRECTIONS = {"text_to_image": "Text to image", "image_to_text": "Image to text"}


def retrieval_page(report: RetrievalReport, folder: Path) -> Iterator[str]:
    """The page, in pieces; the figures are taken from `folder` where they are there."""
    first = report.metrics[0]
    yield from document(f"Retrieval on {first['dataset']}", _lead(report), _sections(report, folder))


def protocol_note(report: RetrievalReport) -> str:
    """How it was measured, in plain text."""
    if report.run["protocol"] != "original":
        return PEYDA_NOTE
    return ORIGINAL_NOTE.format(rows=report.run["images"], photographs=report.run["distinct_images"])


def _lead(report: RetrievalReport) -> str:
    run = report.run
    names = ", ".join(isolated(one["model"]) for one in run["models"])
    sample = f", a sample (seed {run['seed'] or 0})" if run["sample"] and run["protocol"] == "peyda" else ""
    return (
        f"<p>{names}: <strong>{run['queries']:,} captions</strong> of the column {isolated(run['column'])}"
        f" among <strong>{run['images']:,} {'rows' if run['protocol'] == 'original' else 'photographs'}</strong>"
        f"{sample}.</p>\n{paragraph(protocol_note(report))}"
    )


def _sections(report: RetrievalReport, folder: Path) -> Iterator[str]:
    pictures = figures((folder / name, "Acc@k against k") for name in FIGURES)
    if pictures:
        yield section("Acc@k", pictures)
    for direction, heading in _DIRECTIONS.items():
        lines = [one for one in report.metrics if one["direction"] == direction]
        yield section(heading, _metrics_table(lines), "<br>", _ranks_table(lines))
    if report.comparisons:
        yield section("Is one better?", _comparison_note(), _comparison_table(report.comparisons))
    if report.misses:
        yield section("Worst misses", paragraph(_MISSES_NOTE), _misses(report))
    yield section("Published elsewhere", paragraph(_PUBLISHED_NOTE), _published_table())
    yield section("Left out", _left_out(report))


def _metrics_table(lines: list[dict[str, Any]]) -> str:
    ks = list(lines[0]["accuracy_at_k"])
    highest = {k: max(one["accuracy_at_k"][k] for one in lines) if len(lines) > 1 else 2.0 for k in ks}

    def rows() -> Iterator[list[str]]:
        for one in lines:
            interval = one["ci95"]
            yield [
                isolated(one["model"]),
                f"{one['queries']:,}",
                *(
                    with_margin(value, interval["accuracy_at_k"][k], is_best=value == highest[k])
                    for k, value in one["accuracy_at_k"].items()
                ),
                with_margin(one["mrr"], interval["mrr"]),
            ]

    return table(["model", "queries", *(f"Acc@{k}" for k in ks), "MRR"], rows())


def _ranks_table(lines: list[dict[str, Any]]) -> str:
    def rows() -> Iterator[list[str]]:
        for one in lines:
            low, high = one["ci95"]["mean_rank"]
            yield [
                isolated(one["model"]),
                f"{one['median_rank']:g}",
                f'{one["mean_rank"]:.1f} <span class="margin">[{low:.1f}, {high:.1f}]</span>',
                *(with_margin(value, one["ci95"]["ndcg_at_k"][k]) for k, value in one["ndcg_at_k"].items()),
            ]

    return table(["model", "median rank", "mean rank", *(f"nDCG@{k}" for k in lines[0]["ndcg_at_k"])], rows())


def _comparison_note() -> str:
    return paragraph(
        "Second less first, on the same queries. p: a paired permutation test over photographs; Holm: corrected for "
        "the number of pairs. Below 0.05 a difference is called significant here."
    )


def _comparison_table(comparisons: list[dict[str, Any]]) -> str:
    columns = {
        "direction": lambda one: _DIRECTIONS[one["direction"]].lower(),
        "metric": lambda one: one["metric"].replace("accuracy_at_", "Acc@").replace("mrr", "MRR"),
    }
    return comparison_table(comparisons, columns)


_MISSES_NOTE = (
    "Queries whose own photograph (framed) came last, one for each photograph, and what was found in its place. "
    "Captions may be wrong or fit several photographs, so not every miss is a mistake of the model."
)


def _misses(report: RetrievalReport) -> str:
    cards = []
    is_many = len(report.run["models"]) > 1
    for miss in report.misses:
        model = f" · {isolated(miss.model)}" if is_many else ""
        cards.append(
            f'<li><span class="said">{isolated(miss.caption)}</span>'
            f"<p>rank {miss.rank:,} of {report.run['images']:,}{model}</p>"
            f'<div class="pictures">{_own(miss)}{"".join(_found(miss))}</div></li>'
        )
    return f'<ul class="cards">{"".join(cards)}</ul>'


def _own(miss: Miss) -> str:
    return f'<figure class="own">{photograph(miss.own)}<figcaption>its own</figcaption></figure>'


def _found(miss: Miss) -> Iterator[str]:
    for place, path in enumerate(miss.found, start=1):
        yield f"<figure>{photograph(path)}<figcaption>found, {place}</figcaption></figure>"


_PUBLISHED_NOTE = (
    "Text to image, measured by others on other photographs, captions and galleries. For orientation: these numbers "
    "and the ones above do not compare."
)


def _published_table() -> str:
    def rows() -> Iterator[list[str]]:
        for one in published.RETRIEVAL:
            accuracy = ", ".join(f"Acc@{k} {value:.3g}" for k, value in one.accuracy)
            source = one.source + (f". {one.remark[0].upper()}{one.remark[1:]}." if one.remark else "")
            yield [shown(one.system), shown(one.dataset), shown(accuracy), shown(source)]

    return table(("system", "on", "published", "source"), rows(), text=(1, 2, 3))


def _left_out(report: RetrievalReport) -> str:
    run = report.run
    counts = (
        ("images that could not be found or read", run["skipped_images"]),
        ("captions without their image", run["captions_without_image"]),
        ("empty captions", run["empty_captions"]),
        ("lines of the table that are no rows", run["skipped_rows"]),
    )
    items = "".join(f"<li>{count:,} {html.escape(name)}</li>" for name, count in counts if count)
    return f"<ul>{items}</ul>" if items else paragraph("Nothing.")
